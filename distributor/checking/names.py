"""Whether the names that endpoints are asked for lead to their host. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from distributor.checking.remarks import Remark
from distributor.model.errors import DistributorError
from distributor.model.hosts import Host
from distributor.model.text import printable

_RECORD = {4: "A", 6: "AAAA"}

Ip = IPv4Address | IPv6Address


def judge_names(
    host: Host, own: Sequence[str], names: Mapping[str, tuple[str, ...] | DistributorError]
) -> Iterator[Remark]:
    """Compare the addresses of each name with the host's own, family by family.

    A name may have more: the inventory knows one address, and a box often has one of each family.
    """
    mine = [ip_address(one) for one in own]
    for name, found in names.items():
        if isinstance(found, DistributorError):
            yield Remark(
                name="dns-lookup",
                about=f"host {host.name}",
                message=found.message,
                hint=found.hint or "look the name up by hand: dig NAME",
            )
        elif mine:
            yield from _compared(host, name, mine, [ip_address(one) for one in found])


def _compared(host: Host, name: str, mine: list[Ip], found: list[Ip]) -> Iterator[Remark]:
    records = ", ".join(f"{name}. {_RECORD[one.version]} {one}" for one in mine)
    if not found:
        yield Remark(
            name="no-address",
            about=f"host {host.name}",
            message=f"{printable(name)} has no address, so that nobody reaches the box by the name "
            "in its certificate",
            hint=f"set the record: {records}",
        )
        return
    versions = {one.version for one in mine}
    wrong = [one for one in found if one.version in versions and one not in mine]
    if not wrong:
        return
    listed = ", ".join(map(str, wrong))
    if all(one.is_global for one in wrong) and not any(one.is_global for one in mine):
        yield Remark(
            name="public-address",
            about=f"host {host.name}",
            message=f"{printable(name)} leads to {listed}, and the box is at "
            f"{', '.join(map(str, mine))}: that is right only if a router forwards the ports",
            hint=f"for people inside this network a record of its own is quicker: {records}",
            is_finding=False,
        )
        return
    yield Remark(
        name="other-address",
        about=f"host {host.name}",
        message=f"{printable(name)} leads to {listed}, but the box is at "
        f"{', '.join(map(str, mine))}",
        hint=f"set the record: {records}; or correct `address`",
    )
