"""The zip that DSM exports: three PEM files, and nothing else that we would believe."""

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Final

from distributor.model.errors import ProtocolError

MEMBER_LIMIT: Final = 1 << 20
"""Bytes that one member may unpack to."""


@dataclass(frozen=True, slots=True)
class ExportedPair:
    """Certificate, chain and key as they stand in an export; the chain may be empty."""

    certificate: bytes
    chain: bytes
    private_key: bytes = field(repr=False)


def parse_export(content: bytes) -> ExportedPair:
    """Return the pair of an exported zip (dsm-web-api facts 3.6).

    Members are read by their plain name, one by one and bounded; nothing is unpacked to disk.
    Raises ProtocolError when it is no zip or a member is missing or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            chain = "chain.pem" if "chain.pem" in names else "syno-ca-cert.pem"
            return ExportedPair(
                certificate=_member(archive, "cert.pem"),
                chain=_member(archive, chain) if chain in names else b"",
                private_key=_member(archive, "privkey.pem"),
            )
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
    ) as error:
        raise ProtocolError(
            "the exported archive does not hold cert.pem and privkey.pem",
            hint="export it by hand in Control Panel > Security > Certificate and look at it",
            step="export",
        ) from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        content = member.read(MEMBER_LIMIT + 1)
    if len(content) > MEMBER_LIMIT:
        raise ProtocolError(
            f"{name} in the exported archive is larger than {MEMBER_LIMIT} bytes",
            hint="export it by hand in Control Panel > Security > Certificate and look at it",
            step="export",
        )
    return content
