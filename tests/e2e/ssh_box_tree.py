"""What the files of a virtual box are when it is new: pure, from release, services and pairs.

"dsm-ssh N" is a section of the facts on DSM and SRM over SSH; what no source tells is called open.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.certs import Issued

Release = Literal["dsm62", "dsm72", "dsm73", "srm13"]

ARCHIVE: Final = "/usr/syno/etc/certificate/_archive"
INFO: Final = f"{ARCHIVE}/INFO"
LAYER: Final = "/usr/syno/etc/www/certificate"
"""What nginx reads on DSM 7; filled by `synow3tool --gen-all` only."""
_FILES: Final = Path(__file__).with_name("ssh_box_files")
_BOX: Final = "/opt/box"

UIDS: Final[Mapping[str, int]] = {
    "root": 0,
    "http": 1023,
    "sshd": 1019,
    "nobody": 65534,
    "SynologyDrive": 40101,
    "CardDAVServer": 40102,
}
"""Accounts of the box itself; a group of the same name and number belongs to each."""
ADMINISTRATORS: Final = 101
_PRODUCT: Final = {
    "dsm62": ("DSM", 6, 2, "6.2.3", "25426", "DS218"),
    "dsm72": ("DSM", 7, 2, "7.2.2", "72806", "DS220+"),
    "dsm73": ("DSM", 7, 3, "7.3", "86009", "DS220+"),
    "srm13": ("SRM", 5, 2, "5.2", "9346", "RT2600ac"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One path of the box: a file when it has content, a link when it has a target, or a folder."""

    path: str
    content: bytes | None = None
    link: str | None = None
    mode: int = 0o755
    uid: int = 0
    gid: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as the agent wants it."""
        if self.link is not None:
            return {"path": self.path, "link": self.link}
        plain = {"path": self.path, "mode": self.mode, "uid": self.uid, "gid": self.gid}
        if self.content is None:
            return plain
        return {**plain, "content": base64.b64encode(self.content).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service as INFO names it (dsm-ssh 1.1, 1.2), and where its certificate shows."""

    subscriber: str
    service: str
    display_name: str
    display_name_i18n: str | None = None
    is_pkg: bool = False
    owner: str = "root"
    user_setable: bool | None = None
    """None leaves the two DSM 7 keys out, as packages and proxies do."""
    server_name: str | None = None
    """The name under which nginx serves it on the shared HTTPS port."""
    has_directory: bool = True
    in_info: bool = True

    @property
    def key(self) -> str:
        """`subscriber/service`."""
        return f"{self.subscriber}/{self.service}"

    @property
    def directory(self) -> str:
        """Where its own copy of the pair lies."""
        base = "/usr/local/etc" if self.is_pkg else "/usr/syno/etc"
        return f"{base}/certificate/{self.key}"

    def info(self, release: Release) -> dict[str, Any]:
        """Return it as INFO of that release has it."""
        entry: dict[str, Any] = {
            "display_name": self.display_name,
            "isPkg": self.is_pkg,
            "owner": self.owner,
            "service": self.service,
            "subscriber": self.subscriber,
        }
        if self.display_name_i18n is not None:
            entry["display_name_i18n"] = self.display_name_i18n
        if release != "dsm62" and self.user_setable is not None:
            entry |= {"multiple_cert": True, "user_setable": self.user_setable}
        return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate of the archive with its bindings."""

    id: str
    desc: str
    pair: Issued
    services: tuple[Service, ...] = ()
    user_deletable: bool = True
    second: Issued | None = None
    """The ECC pair of a dual entry (dsm-ssh fact 5); `pair` is then its RSA half."""


DESKTOP: Final = Service(
    subscriber="system",
    service="default",
    display_name="DSM Desktop Service",
    display_name_i18n="common:web_desktop",
    user_setable=True,
)
FQDN: Final = Service(
    subscriber="system",
    service="FQDN",
    display_name="nas.example.test",
    user_setable=True,
    server_name="nas.example.test",
)
FTPS: Final = Service(
    subscriber="smbftpd",
    service="ftpd",
    display_name="FTPS",
    display_name_i18n="helptoc:ftp",
    user_setable=True,
)
PROXY: Final = Service(
    subscriber="ReverseProxy",
    service="0b7c0d6e-32a1-4c5e-9d0a-5f6d8c1b2a30",
    display_name="git.example.test",
    server_name="git.example.test",
)
FOREIGN_PROXY: Final = Service(
    subscriber="ReverseProxy",
    service="f2d4e6a8-1b3c-4d5e-8f90-a1b2c3d4e5f6",
    display_name="wiki.other.test",
    server_name="wiki.other.test",
)
PORTAL: Final = Service(
    subscriber="AppPortal",
    service="FileStation",
    display_name="File Station",
    server_name="files.example.test",
)
DRIVE: Final = Service(
    subscriber="SynologyDrive",
    service="SynologyDrive",
    display_name="Synology Drive Server",
    is_pkg=True,
    owner="SynologyDrive",
)
CARDDAV: Final = Service(
    subscriber="CardDAVServer",
    service="carddav",
    display_name="CardDAV Server",
    is_pkg=True,
    owner="CardDAVServer",
)
VPN: Final = Service(subscriber="VPNCenter", service="OpenVPN", display_name="OpenVPN", is_pkg=True)
WEBDAV: Final = Service(
    subscriber="WebDAVServer", service="webdav", display_name="WebDAV Server", is_pkg=True
)
"""Its package is switched off."""
REPLICATION: Final = Service(
    subscriber="ReplicationService",
    service="snapshot_receiver",
    display_name="Snapshot Replication",
    is_pkg=True,
    has_directory=False,
)
"""INFO names it, but there is no directory."""
VHOST: Final = Service(
    subscriber="WebStation",
    service="vhost_4f1d2c3b-9a8e-4b7c-a6d5-e4f3a2b1c0d9",
    display_name="blog.example.test",
    is_pkg=True,
    server_name="blog.example.test",
    in_info=False,
)
"""nginx serves it from its directory, but INFO does not name it (dsm-ssh 1.2, 7 no. 10)."""
QUICKCONNECT: Final = Service(
    subscriber="system",
    service="quickconnect",
    display_name="QuickConnect",
    user_setable=False,
)

TARGET_ID: Final = "3xTgtK"
DECOY_ID: Final = "8ec29f37"
QUICKCONNECT_ID: Final = "qCk7Lw"
PACKAGES: Final[Mapping[str, str]] = {
    "SynologyDrive": "on",
    "CardDAVServer": "on",
    "VPNCenter": "on",
    "ReplicationService": "on",
    "WebStation": "on",
    "WebDAVServer": "off",
}


def standard_entries(target: Issued, decoy: Issued, release: Release) -> tuple[Entry, ...]:
    """Return the entries of a well-used box: the one to replace, another's, on 7 QuickConnect's."""
    bound = (DESKTOP, FQDN, FTPS, PROXY, PORTAL, DRIVE, CARDDAV, VPN, WEBDAV, REPLICATION, VHOST)
    entries = (
        Entry(id=TARGET_ID, desc="home", pair=target, services=bound),
        Entry(id=DECOY_ID, desc="other", pair=decoy, services=(FOREIGN_PROXY,)),
    )
    if release == "dsm62":
        return entries
    quick = Entry(
        id=QUICKCONNECT_ID,
        desc="QuickConnect",
        pair=decoy,
        services=(QUICKCONNECT,),
        user_deletable=False,
    )
    return (*entries, quick)


def info_text(entries: Iterable[Entry], release: Release) -> bytes:
    """Return INFO as DSM's writer styles it: three spaces, sorted keys, ` : ` (dsm-ssh 1.2)."""
    info: dict[str, Any] = {}
    for entry in entries:
        services = [service.info(release) for service in entry.services if service.in_info]
        info[entry.id] = {"desc": entry.desc, "services": services}
        if release != "dsm62":
            info[entry.id]["user_deletable"] = entry.user_deletable
    text = json.dumps(info, indent=3, separators=(",", " : "), sort_keys=True)
    return text.encode() + b"\n"


def pair_items(folder: str, entry: Entry, *, uid: int = 0, mode: int = 0o700) -> list[Item]:
    """Return a folder with the entry's pair, or its two pairs, under the names DSM gives them."""
    halves = {"": entry.pair}
    if entry.second is not None:
        halves = {"RSA-": entry.pair, "ECC-": entry.second}
    contents = {
        f"{prefix}{name}.pem": content
        for prefix, pair in halves.items()
        for name, content in (
            ("cert", pair.certificate_pem),
            ("fullchain", pair.fullchain_pem),
            ("privkey", pair.private_key_pem),
        )
    }
    if entry.pair.chain and entry.second is None:
        contents["chain.pem"] = entry.pair.chain_pem
    return [
        Item(path=folder, mode=mode, uid=uid, gid=uid),
        *(
            Item(path=f"{folder}/{name}", content=content, mode=0o400, uid=uid, gid=uid)
            for name, content in contents.items()
        ),
    ]


def certificate_items(entries: Sequence[Entry], release: Release) -> list[Item]:
    """Return archive and service directories of a DiskStation (dsm-ssh 1.1, 1.4)."""
    items = [
        Item(path="/usr/syno/etc/certificate"),
        Item(path=ARCHIVE, mode=0o700),
        Item(path=INFO, content=info_text(entries, release), mode=0o600),
        Item(path=f"{ARCHIVE}/DEFAULT", content=f"{entries[0].id}\n".encode(), mode=0o600),
    ]
    for entry in entries:
        items += pair_items(f"{ARCHIVE}/{entry.id}", entry)
        for service in entry.services:
            if service.has_directory:
                uid = UIDS[service.owner]
                items += pair_items(service.directory, entry, uid=uid, mode=0o755)
    if release != "dsm62":
        everything = [service.info(release) for entry in entries for service in entry.services]
        content = json.dumps(everything, indent=3).encode()
        items.append(Item(path=f"{ARCHIVE}/SERVICES", content=content, mode=0o600))
        items.append(Item(path=LAYER))
    return items


def router_items(pair: Issued) -> list[Item]:
    """Return the one certificate of a router (dsm-ssh 4)."""
    base = "/usr/syno/etc/ssl"
    return [
        Item(path=f"{base}/ssl.crt/server.crt", content=pair.certificate_pem, mode=0o400),
        Item(path=f"{base}/ssl.key/server.key", content=pair.private_key_pem, mode=0o400),
        Item(path=f"{base}/ssl.intercrt/server-ca.crt", content=pair.chain_pem, mode=0o400),
    ]


def product_items(release: Release) -> list[Item]:
    """Return what tells release and model; the shape of both files is open (dsm-ssh 8.2)."""
    system, major, minor, version, build, model = _PRODUCT[release]
    told = {
        "majorversion": major,
        "minorversion": minor,
        "productversion": version,
        "buildnumber": build,
        "smallfixnumber": 0,
    }
    if release != "dsm62":
        told["os_name"] = system
    text = "".join(f'{key}="{value}"\n' for key, value in told.items())
    return [
        Item(path="/etc.defaults/VERSION", content=text.encode(), mode=0o644),
        Item(path="/etc/VERSION", content=text.encode(), mode=0o644),
        Item(
            path="/etc/synoinfo.conf",
            content=f'upnpmodelname="{model}"\n'.encode(),
            mode=0o644,
        ),
    ]


def shim_items(release: Release, *, synowebapi: bool) -> list[Item]:
    """Return the programs of a Synology box, as its release has them."""
    sources = {
        "dsm62": ("both", "dsm", "dsm62"),
        "dsm72": ("both", "dsm", "dsm7"),
        "dsm73": ("both", "dsm", "dsm7"),
        "srm13": ("both", "srm13"),
    }[release]
    items = []
    for source in (*sources, *(["synowebapi"] if synowebapi else [])):
        folder = _FILES / source
        for file in sorted(folder.rglob("*")):
            path = f"/{file.relative_to(folder)}"
            if file.is_symlink():
                items.append(Item(path=path, link=str(file.readlink())))
            elif file.is_file():
                items.append(Item(path=path, content=file.read_bytes()))
    if release == "srm13":
        return items
    # dsm-ssh 1.1, 2.4: the executable hooks moved with DSM 7.
    hooks = "libexec/certificate.d" if release == "dsm62" else "share/certificate.d"
    system = "/usr" if release == "dsm62" else "/usr/syno"
    for name, base in (("smbftpd", system), ("CardDAVServer", "/usr/local")):
        items.append(
            Item(path=f"{base}/{hooks}/{name}", content=(_FILES / "hooks" / name).read_bytes())
        )
    items += [
        Item(path=f"{_BOX}/packages/{name}", content=state.encode() + b"\n", mode=0o644)
        for name, state in PACKAGES.items()
    ]
    items.append(Item(path="/usr/syno/etc/packages/VPNCenter/openvpn/keys", mode=0o700))
    return items


def lines_of(lines: Sequence[str]) -> bytes:
    """Return a text file of these lines."""
    return "".join(f"{line}\n" for line in lines).encode()
