"""What an inventory without problems should still make one think of. Pure: nothing is looked up."""

from collections.abc import Iterator

from distributor.checking.remarks import Remark
from distributor.model.hosts import ApiAccess, Host, Inventory

SHARED_KEY = "shared-key"
PIN_WILL_BREAK = "pin-will-break"


def notes(inventory: Inventory) -> Iterator[Remark]:
    """Give the notes on an inventory: keys that hosts share, and pins that will stop matching."""
    for name in inventory.certificates:
        yield from _shared_key(inventory, name)
    for host in inventory.hosts.values():
        yield from _pin_will_break(inventory, host)


def _shared_key(inventory: Inventory, certificate: str) -> Iterator[Remark]:
    """Note hosts that hold one key, since each of them can pass for every other."""
    holders = [host for host in inventory.hosts.values() if certificate in host.certificates]
    at_risk = [host.name for host in holders if isinstance(host.access, ApiAccess)]
    if not at_risk or len(_boxes(holders)) < 2:  # noqa: PLR2004 - one box shares with nobody
        return
    yield Remark(
        name=SHARED_KEY,
        about=f"certificate {certificate}",
        message=f"{_listed([host.name for host in holders])} hold one private key: whoever owns "
        "one of these boxes can pretend to be the others to this computer, and collect the "
        f"password that it sends to {_listed(at_risk)}",
        hint="give each box an account and a password of its own, so that a stolen one opens "
        'nothing else; or reach boxes with `via = "ssh"`, where each has a host key of its own; or '
        "give a box that you trust less a certificate of its own",
        is_finding=False,
    )


def _pin_will_break(inventory: Inventory, host: Host) -> Iterator[Remark]:
    """Note a pinned key that the next renewal replaces, as it does unless told not to."""
    access = host.access
    if not isinstance(access, ApiAccess) or access.tls_pin is None:
        return
    changing = [name for name in host.certificates if not inventory.certificates[name].reuse_key]
    if changing:
        yield Remark(
            name=PIN_WILL_BREAK,
            about=f"host {host.name}",
            message=f"`tls_pin` names one public key, but each renewal of "
            f"{_listed(changing)} brings this host a new key: once its own port serves that, the "
            "pin stops matching and the host is refused",
            hint=f"remove `tls_pin` and pin the leaf instead, which moves along with each proved "
            f"delivery: distribute trust {host.name}; or set `reuse_key = true`",
            is_finding=False,
        )


def _boxes(hosts: list[Host]) -> set[tuple[str, int]]:
    """Return what tells the boxes of hosts apart.

    That is address and port, since ports of one address may be forwarded to several boxes; a host
    reached by SSH may be the same box as one reached by its Web API.
    """
    by_api = {
        (host.address, host.access.port) for host in hosts if isinstance(host.access, ApiAccess)
    }
    known = {address for address, _ in by_api}
    return by_api | {(host.address, 0) for host in hosts if host.address not in known}


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
