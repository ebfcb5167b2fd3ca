"""A virtual DiskStation by SSH that is put back, for the next test, to what a scenario says."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from distributor.clients.tls import probe
from distributor.model.bundle import Bundle, fingerprint
from distributor.model.errors import BundleError
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.pem import certificates_from, private_key_from
from tests.certs import Authority, Issued, authority, pem, private_key
from tests.contract.scenarios import DRIVE, DSM, FTPS, PROXY, QUICKCONNECT, Placed, Scenario
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box import Knobs, SshBox
from tests.e2e.ssh_box_tree import Entry, Item, Release, Service

OWN_ID: Final = "8e0042"
"""Of the entry that the box made itself; to JSON without quotes it is a number."""
OWN: Final = "/usr/syno/etc/.distribute"
_IN_A_ROW: Final = 3
SERVICES: Final[Mapping[str, Service]] = {
    DSM: tree.DESKTOP,
    FTPS: tree.FTPS,
    DRIVE: tree.DRIVE,
    PROXY: tree.PROXY,
    QUICKCONNECT: tree.QUICKCONNECT,
}
PORTS: Final = {DSM: "dsm", FTPS: "ftps", DRIVE: "drive", PROXY: "https"}
"""Services that a port of the box shows."""
_SEEN: Final = {name: SERVICES[name] for name in PORTS}
_SETTLE_SECONDS: Final = 4.0
BESIDE_DSM: Final = (tree.REPLICATION, tree.VHOST)
"""Services that the scenarios do not know of; they go with DSM's own pages. Of the first there is
no folder, the other INFO does not name."""
_FOLDERS: Final = (
    "/usr/syno/etc/certificate",
    "/usr/local/etc/certificate",
    tree.LAYER,
    "/usr/syno/etc/packages/VPNCenter/openvpn/keys",
    "/opt/box/faults",
)


def issued_of(bundle: Bundle, *, has_chain: bool = True) -> Issued:
    """Return a bundle as the box's maker takes it."""
    key = private_key_from(bundle.private_key_pem.reveal().encode(), "the key")
    return Issued(leaf=bundle.leaf, chain=bundle.chain if has_chain else (), key=key)


@cache
def own_authority() -> Authority:
    return authority("Synology Inc. CA")


@cache
def own_pair(kind: str) -> Issued:
    """The pair of a box from the shop, signed by the CA that it made with it."""
    key = private_key("rsa2048", number=99) if kind == "rsa" else private_key()
    issued = own_authority().issue(["synology"], key=key)
    return replace(issued, chain=())


def entries_of(
    scenario: Scenario, release: Release, beside: Sequence[Service] | None = None
) -> tuple[Entry, ...]:
    """Return the archive of a box, the default first; `beside` goes with DSM's own pages."""
    more = BESIDE_DSM if beside is None else tuple(beside)
    used = {name: one.id for one in scenario.placed for name in one.services}
    used |= {one.display_name: "" for one in more}
    placed = [_entry(one, used, more) for one in scenario.placed]
    names = [name for name in SERVICES if name not in used]
    if release == "dsm62":
        names.remove(QUICKCONNECT)
    own = Entry(
        id=OWN_ID,
        desc="",
        pair=own_pair("rsa" if release == "dsm62" else "ec"),
        services=_services(names, more),
    )
    defaults = [one.id for one in scenario.placed if one.is_default]
    entries = [own, *placed]
    return tuple(sorted(entries, key=lambda one: one.id not in (defaults or [OWN_ID])))


def _entry(one: Placed, used: Mapping[str, str], beside: Sequence[Service]) -> Entry:
    names = [name for name in one.services if used[name] == one.id]
    return Entry(
        id=one.id,
        desc=one.description,
        pair=issued_of(one.bundle, has_chain=one.has_chain),
        services=_services(names, beside),
    )


def _services(names: Sequence[str], beside: Sequence[Service]) -> tuple[Service, ...]:
    return (*(SERVICES[name] for name in names), *(beside if DSM in names else ()))


class DiskstationBox(SshBox):
    """A box that takes one scenario after the other."""

    _is_closed = False

    def place_scenario(self, scenario: Scenario, beside: Sequence[Service] | None = None) -> None:
        """Make everything on the box as it is before a delivery of the scenario.

        `beside` are services that go with DSM's own pages, instead of the usual ones.
        """
        self._sshd_runs()
        self.come_to_rest()
        self.trap("mv", 0, "fail")
        for folder in (*_FOLDERS, OWN):
            if self.run("/usr/bin/test", "-d", folder).returncode == 0:
                self.remove(folder)
        self.entries = entries_of(scenario, self.release, beside)
        own_ca = pem(own_authority().certificate)
        self.place(
            *tree.certificate_items(self.entries, self.release),
            Item(path=f"{tree.ARCHIVE}/{OWN_ID}/syno-ca-cert.pem", content=own_ca, mode=0o400),
            Item(path="/opt/box/faults"),
            Item(path="/usr/syno/etc/packages/VPNCenter/openvpn/keys", mode=0o700),
        )
        self.publish()
        self.forget_calls()
        self.trap("mv", 0, "fail")
        self._wait(self.is_settled, "its ports")
        self.settle()

    def publish(self) -> None:
        """Let every program read its certificate again."""
        publish = "" if self.release == "dsm62" else "/usr/syno/bin/synow3tool --gen-all && "
        script = (
            f". /opt/box/lib.sh; to_normal_mode; {publish}nginx_hup;"
            " listener_reads_again ftpd; listener_reads_again SynologyDrive"
        )
        done = self.run("/bin/sh", "-c", script)
        if done.returncode:
            raise RuntimeError(f"the box does not read its certificates: {done}")

    def stop_sshd(self) -> None:
        """Let nobody in any more, until the next scenario."""
        self._ask("stop", name="sshd")
        self._is_closed = True

    def come_to_rest(self) -> None:
        """Wait until no command runs any more; a connection may stay open."""
        self._wait(lambda: not any(map(_is_command, self._ask("busy"))), "rest")

    def settle(self, seconds: float = _SETTLE_SECONDS) -> None:
        """Wait, for a moment, until every port serves what its program would read now."""
        deadline, in_a_row = time.monotonic() + seconds, 0
        # For a moment, workers that were told to end may still answer beside the new ones.
        while time.monotonic() < deadline and in_a_row < _IN_A_ROW:
            in_a_row = in_a_row + 1 if self.is_settled() else 0
            time.sleep(0.02)

    def is_settled(self) -> bool:
        return all(self.shows(name) == self.to_serve(service) for name, service in _SEEN.items())

    def shows(self, service: str) -> tuple[str, ...] | None:
        """Return what is served for one of the services that have a port: leaf and chain."""
        shown = probe(
            Endpoint(
                address=SocketAddress("127.0.0.1", self.ports[PORTS[service]]),
                certificate="",
                starttls="ftp" if service == FTPS else None,
                server_name=PROXY if service == PROXY else None,
            )
        ).certificate
        return None if shown is None else (shown.leaf, *shown.chain)

    def to_serve(self, service: Service) -> tuple[str, ...] | None:
        """Return what the program behind a service reads when it is told to: leaf and chain."""
        path = f"{service.directory}/fullchain.pem"
        is_web = service not in {tree.FTPS, tree.DRIVE}
        if is_web and self.release != "dsm62":
            conf = f"{tree.LAYER}/{service.key.replace('/', '_')}/cert.conf"
            found = re.search(r"ssl_certificate (\S+);", self.text(conf))
            if found is None:
                return None
            path = found[1]
        try:
            return tuple(map(fingerprint, certificates_from(self.text(path).encode(), path)))
        except BundleError:
            return None

    def text(self, path: str) -> str:
        """Return what a file holds; nothing when there is none."""
        return self.run("/usr/bin/cat", path).stdout.decode("utf-8", "replace")

    def info(self) -> dict[str, Any]:
        """Return what INFO says."""
        told: dict[str, Any] = json.loads(self.read(tree.INFO))
        return told

    def _sshd_runs(self) -> None:
        if self._is_closed:
            self._start_sshd()
            self._is_closed = False


def _is_command(program: str) -> bool:
    return not program.startswith("sshd")


@contextmanager
def diskstation_box(
    folder: Path, release: Release, *, synowebapi: bool = False
) -> Iterator[DiskstationBox]:
    """Run a box of a release with every service that a scenario can have."""
    everything = Scenario(name="all of it on one entry", placed=())
    knobs = Knobs(
        entries=entries_of(everything, release), synowebapi=synowebapi or release == "dsm73"
    )
    with DiskstationBox(folder, release, knobs) as box:
        yield box
