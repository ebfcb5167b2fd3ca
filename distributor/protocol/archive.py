"""The zip that DSM exports: three PEM files, and nothing else that we would believe."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Final

from distributor.model.bundle import Bundle, assemble
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
    Raises ProtocolError when it is no zip or a member is missing, encrypted or too large.
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
    except _UNREADABLE as error:
        raise _refused("the exported archive does not hold cert.pem and privkey.pem") from error


_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
)
"""What zipfile raises for a file that is no zip, or a damaged, encrypted or exotic one."""


def bundle_of_export(content: bytes) -> Bundle:
    """Return the bundle of an exported zip; raises BundleError when its parts do not fit."""
    pair = parse_export(content)
    return assemble(certificate=pair.certificate, chain=pair.chain, private_key=pair.private_key)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    # Other methods may ask for gigabytes of memory before they unpack a byte.
    if archive.getinfo(name).compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise NotImplementedError(name)
    with archive.open(name) as member:
        content = member.read(MEMBER_LIMIT + 1)
    if len(content) > MEMBER_LIMIT:
        raise _refused(f"{name} in the exported archive is larger than {MEMBER_LIMIT} bytes")
    return content


def _refused(message: str) -> ProtocolError:
    return ProtocolError(
        message,
        hint="export it by hand in Control Panel > Security > Certificate and look at it",
        step="export",
    )
