"""The drivers of hosts by kind and way, and what work on a host needs from outside."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from distributor.access import (
    Logins,
    host_key_trust_for,
    pin_of,
    trust_for,
    utc_now,
)
from distributor.clients.shell import Shell
from distributor.clients.tls import probe, served_chain
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.endpoints import Served
from distributor.model.holds import Hold
from distributor.model.hosts import (
    ApiAccess,
    Endpoint,
    Host,
    SocketAddress,
    SshAccess,
)
from distributor.model.snapshot import Snapshot
from distributor.obtaining import Obtained
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi
from distributor.targets.diskstation_ssh import DiskstationSsh
from distributor.targets.pem_files import pem_files
from distributor.targets.pem_set import PemSet, Place
from distributor.targets.router_api import RouterApi
from distributor.targets.router_ssh import RouterSsh
from distributor.targets.ssh_files import SshFiles
from distributor.targets.ssh_rights import folder_of

Step = Callable[[str, str], None]
Certificates = Mapping[str, Certificate]


def _diskstation_api(host: Host, held: Certificates, store: Store, logins: Logins) -> Target:
    access = api_access(host)
    trust = trust_for(host, access, store, held.values())
    return DiskstationApi(
        host, lambda: logins.dsm(host, access, trust), store.bundles.by_leaf, utc_now
    )


def _router_api(host: Host, held: Certificates, store: Store, logins: Logins) -> Target:
    access = api_access(host)
    trust = trust_for(host, access, store, held.values())
    return RouterApi(host, lambda: logins.srm(host, access, trust), store.bundles.by_leaf, utc_now)


def _diskstation_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return DiskstationSsh(
        host,
        ssh_access(host),
        shell_of(host, store, logins),
        store.bundles.by_leaf,
        utc_now,
        controller=_installation(store),
    )


def _router_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return RouterSsh(host, shell_of(host, store, logins), utc_now, controller=_installation(store))


def _files_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return SshFiles(host, shell_of(host, store, logins), utc_now, controller=_installation(store))


MakeTarget = Callable[[Host, Certificates, Store, Logins], Target]
"""Makes a driver that believes a host by what it was pinned to, or by the certificates it holds."""
TARGETS: Final[Mapping[tuple[str, str], MakeTarget]] = {
    ("diskstation", "api"): _diskstation_api,
    ("diskstation", "ssh"): _diskstation_ssh,
    ("router", "api"): _router_api,
    ("router", "ssh"): _router_ssh,
    ("files", "ssh"): _files_ssh,
}
"""Drivers by kind and way; each must run the laws of `targets.contract`."""


def shell_of(
    host: Host, store: Store, logins: Logins
) -> Callable[[], AbstractContextManager[Shell]]:
    """Return what signs in by SSH; raises Untrusted when no host key is known."""
    access = ssh_access(host)
    trust = host_key_trust_for(host, access, store)
    return lambda: logins.ssh(host, access, trust)


def writes_as_root(host: Host, shell: Shell) -> bool:
    """Tell whether a delivery to a host by SSH takes root; raises why that is not to be had."""
    if host.files is None:
        return True
    files = pem_files(host.files)
    place = Place(files=files, folder=folder_of(files[0].path), owner=host.files.owner)
    return PemSet(host.name, shell, place, "").needs_root()


def _installation(store: Store) -> str:
    """Return what tells this installation from others that work on the same hosts."""
    return f"{platform.node()}:{store.folder.resolve()}"


@dataclass(frozen=True, slots=True)
class HostTools:
    """What work on a host needs from outside (`delivery.Tools`, `rollback.Tools`)."""

    store: Store
    obtained: Mapping[str, Obtained]
    step: Step
    logins: Logins

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint, at the same time."""
        return probe_all(endpoints)

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host."""
        return TARGETS[(host.kind, host.via)](host, certificates, self.store, self.logins)

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        """Return what may be shown of all versions of a certificate that the store holds."""
        return self.store.bundles.certificates(certificate)

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot to disk."""
        self.store.snapshots.save(snapshot)

    def snapshot(self, host: str) -> Snapshot | None:
        """Return what the host had before its last change, or None."""
        return self.store.snapshots.last(host)

    def undoing(self, host: str) -> None:
        """Note, before the first write, that it is being put back: it may serve its old leaf."""
        self.store.snapshots.mark(host, undoing=True)

    def revoked_leaves(self) -> frozenset[str]:
        """Return the leaves that were revoked."""
        return self.store.bundles.revoked_leaves()

    def compromised_keys(self) -> frozenset[str]:
        """Return the fingerprints (SPKI) of keys that certificates were revoked for."""
        return self.store.bundles.compromised_keys()

    def hold(self, host: str) -> Hold | None:
        """Return what is remembered of a host that did not take what it was to get."""
        return self.store.holds.of(host)

    def put_hold(self, host: str, hold: Hold | None) -> None:
        """Remember that, or forget it for None."""
        self.store.holds.put(host, hold)

    def remember(self, host: Host) -> None:
        """Pin what the host's own port serves now, if that differs from what is pinned.

        A host by SSH is known by its host key, which no delivery changes.
        """
        if isinstance(host.access, SshAccess):
            return
        access = api_access(host)
        leaf = served_chain(
            SocketAddress(host.address, access.port), access.server_name, legacy=access.legacy_tls
        )[0]
        mine = [self.obtained[name] for name in host.certificates if name in self.obtained]
        certificates = [one.certificate for one in mine if one.certificate is not None]
        trust_for(host, access, self.store, certificates).check(leaf, utc_now())
        pinned = self.store.trust.pinned(host.name)
        if pinned is None or pinned.leaf != fingerprint(leaf):
            self.store.trust.pin(host.name, pin_of(leaf, by="delivery"))
        self.store.snapshots.mark(host.name, undoing=False)

    def sleep(self, seconds: float) -> None:
        """Wait; work on a host comes to its end even when the run is to stop."""
        time.sleep(seconds)


def probe_all(endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
    """Shake hands with every endpoint, at the same time."""
    if not endpoints:
        return ()
    with ThreadPoolExecutor(max_workers=len(endpoints)) as pool:
        return tuple(pool.map(probe, endpoints))


def api_access(host: Host) -> ApiAccess:
    """Return how the Web API of a host is reached; there is one, or this is a mistake of ours."""
    if not isinstance(host.access, ApiAccess):
        # The inventory refuses it where only the Web API will do.
        raise TypeError(f"{host.name} is not reached by its Web API")
    return host.access


def ssh_access(host: Host) -> SshAccess:
    """Return how a host is reached by SSH; it is, or this is a mistake of ours."""
    if not isinstance(host.access, SshAccess):
        raise TypeError(f"{host.name} is not reached by SSH")
    return host.access
