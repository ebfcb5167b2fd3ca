"""The zip that DSM exports: three PEM files, and nothing else that we would believe."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from distributor.model.errors import ProtocolError

MEMBER_LIMIT: Final = 1 << 20
"""Bytes that one member may unpack to."""


KeyFamily = Literal["RSA", "ECC"]
"""The families of keys, as DSM names them."""
_OWN_CA: Final = "syno-ca-cert.pem"
_UNIX: Final = 3
"""The system of a zip's member whose attributes are Unix modes (APPNOTE 4.4.2)."""


@dataclass(frozen=True, slots=True)
class ExportedPair:
    """Certificate, chain and key as they stand in an export; the chain may be empty."""

    certificate: bytes
    chain: bytes
    private_key: bytes = field(repr=False)
    self_signed: bool = False
    """Whether the box's own CA came along: the certificate is one that the box made itself."""


def parse_export(content: bytes, family: KeyFamily = "RSA") -> ExportedPair:
    """Return the pair of an exported zip (dsm-web-api facts 3.6).

    An entry may hold an RSA and an ECC pair. On the box their files begin with `RSA-` and `ECC-`;
    that they do so in the zip is inferred. So where there are such members the pair of `family` is
    taken, where there are not the plain ones, and else the pair of the other family.

    Members are read by their exact name, one by one and bounded; nothing is unpacked to disk.
    Raises ProtocolError when it is no zip or a member is missing, encrypted or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            mark = _mark_of_pair(names, family)
            chain = f"{mark}chain.pem" if f"{mark}chain.pem" in names else _OWN_CA
            return ExportedPair(
                certificate=_member(archive, f"{mark}cert.pem"),
                chain=_member(archive, chain) if chain in names else b"",
                private_key=_member(archive, f"{mark}privkey.pem"),
                self_signed=_OWN_CA in names,
            )
    except _UNREADABLE as error:
        raise _refused("the exported archive does not hold cert.pem and privkey.pem") from error


def members_of(content: bytes, wanted: Collection[str]) -> dict[str, bytes]:
    """Return those of the `wanted` members that a zip has, by name; read as in `parse_export`.

    Raises ProtocolError when it is no zip, or one of them is encrypted or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in wanted if name in archive.namelist()]
            return {name: _member(archive, name) for name in names}
    except _UNREADABLE as error:
        raise _refused("it is no zip archive that can be read") from error


def make_export(certificate: bytes, chain: bytes, private_key: bytes) -> bytes:
    """Return a zip with the names that DSM's export has (dsm-web-api facts 3.6).

    Without a chain there is no chain.pem. Only its owner may read what is unpacked from it.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {
            "cert.pem": certificate,
            "chain.pem": chain,
            "privkey.pem": private_key,
        }.items():
            if content:
                member = zipfile.ZipInfo(name)  # of 1980: the same pair makes the same archive
                member.compress_type = zipfile.ZIP_DEFLATED
                member.create_system = _UNIX
                member.external_attr = (stat.S_IFREG | 0o600) << 16
                archive.writestr(member, content)
    return packed.getvalue()


_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    KeyError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
)
"""What zipfile raises for a file that is no zip, or a damaged, encrypted or exotic one."""


def _mark_of_pair(names: Collection[str], family: KeyFamily) -> str:
    """Return how the names of the pair's members begin."""
    other = "ECC-" if family == "RSA" else "RSA-"
    for mark in (f"{family}-", "", other):
        if {f"{mark}cert.pem", f"{mark}privkey.pem"} <= set(names):
            return mark
    return ""


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
