"""The part of `distribute trust` for hosts that are reached by SSH."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from distributor.cli.settings import Settings

if TYPE_CHECKING:
    from distributor.model.host_keys import HostKey
    from distributor.model.hosts import Host, SshAccess
    from distributor.store import Store


def shown_key(host: "Host", access: "SshAccess", store: "Store", wanted: str | None) -> "HostKey":
    """Return the host key that the host shows: the `wanted` or pinned one, if it has that."""
    from distributor.access import Logins
    from distributor.clients.known_hosts import known_host_keys
    from distributor.clients.ssh import shown_host_key
    from distributor.model.hosts import SocketAddress

    address = SocketAddress(host.address, access.port)
    pinned = store.trust.host_key(host.name)
    fingerprints, types = {one.fingerprint for one in known_host_keys(address).keys}, set()
    if pinned is not None:
        fingerprints, types = {pinned.key.fingerprint}, {pinned.key.type}
    if wanted is not None or access.host_key is not None:
        fingerprints, types = {wanted or access.host_key or ""}, set()
    return shown_host_key(
        address,
        wanted=fingerprints,
        types=types,
        sleep=time.sleep,
        jump=Logins(store).jump(host, access),
    )


def pin_key(
    settings: Settings,
    store: "Store",
    host: "Host",
    access: "SshAccess",
    key: "HostKey",
    fingerprint: str | None,
    confirmed: Callable[[], bool],
) -> bool:
    """Pin the host key of one host; return whether it is believed at the end."""
    from distributor.access import utc_now
    from distributor.clients.known_hosts import known_host_keys
    from distributor.model.host_keys import PinnedKey, pinning
    from distributor.model.hosts import SocketAddress

    needed = pinning(
        host.name,
        key,
        fingerprint=fingerprint,
        host_key=access.host_key,
        pinned=store.trust.host_key(host.name),
        known=known_host_keys(SocketAddress(host.address, access.port)),
    )
    if needed == "nothing":
        settings.stderr().print(f"{host.name}  is pinned to this already", soft_wrap=True)
        return True
    if needed == "ask" and not confirmed():
        return False
    store.trust.pin_host_key(host.name, PinnedKey(key, utc_now()))
    settings.stderr().print(f"{host.name}  pinned", soft_wrap=True)
    return True


def sign_in_by_ssh(settings: Settings, store: "Store", host: "Host", access: "SshAccess") -> None:
    """Try the account while somebody is there to see, and whether it becomes root on a device."""
    from distributor.access import Logins, host_key_trust_for

    as_root = host.kind != "files"
    with Logins(store).ssh(host, access, host_key_trust_for(host, access, store)) as session:
        session.run(["id", "-u"], as_root=as_root).required("cannot run a command", "login")
    rights = ", who may become root" if as_root else ""
    settings.stderr().print(f"{host.name}  signed in as {access.user}{rights}", soft_wrap=True)
