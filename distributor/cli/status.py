"""`distribute status`: what every endpoint serves now, and what hosts say of their services."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from distributor.cli.settings import NOT_WELL, OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from distributor.model.bundle import Certificate
    from distributor.model.endpoints import Served
    from distributor.model.hosts import Host, Inventory
    from distributor.store import Store

_AT_ONCE = 32


@click.command(epilog="Example: distribute status --tag home --services")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this host (repeatable).")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only hosts with this tag.")
@click.option(
    "--services",
    is_flag=True,
    help="Sign in too, and show which certificate each service of a host uses.",
)
@global_options
@click.pass_context
def status(
    context: click.Context,
    settings: Settings,
    /,
    hosts: tuple[str, ...],
    tags: tuple[str, ...],
    services: bool,
) -> None:
    """Shake hands with every endpoint and show what it serves; without a login.

    With --services it signs in to each host, and shows the certificate that the host reports for
    each of its services, and the endpoint that proves it. Exit code 1 when an endpoint does not
    serve the certificate that the store holds for it, or an endpoint or host cannot be asked.
    """
    from distributor.access import utc_now
    from distributor.cli.deliver import select
    from distributor.cli.logs import start_logging
    from distributor.cli.services import read_services, services_as_json, services_lines

    inventory = settings.load_inventory()
    chosen = select(inventory, all_hosts=not hosts and not tags, hosts=hosts, tags=tags)
    start_logging(settings, settings.stderr())
    wanted = stored_certificates(inventory, settings.store(), chosen)
    readings = read_services(inventory, settings.store(), chosen, wanted) if services else ()
    seen = (
        [(one.host, served) for one in readings for served in one.served]
        if services
        else probed(chosen)
    )
    good = all(_is_well(one, wanted) for _, one in seen)
    code = OK if good and all(one.error is None for one in readings) else NOT_WELL
    if settings.as_json:
        data = _as_json(chosen, seen, wanted, code)
        for host, reading in zip(data["hosts"], readings, strict=services):
            host.update(services_as_json(reading))
        print_json(data)
    elif not (settings.quiet and code == OK):
        console = settings.stdout()
        for line in _lines(seen, wanted, utc_now()):
            console.print(line, soft_wrap=True)
        for reading in readings:
            for line in services_lines(reading):
                console.print(line, soft_wrap=True)
    context.exit(code)


def stored_certificates(
    inventory: "Inventory", store: "Store", hosts: "Sequence[Host]"
) -> "dict[str, Certificate]":
    """Return what the store holds of the certificates that the hosts use; revoked ones never."""
    used = {one.certificate for host in hosts for one in host.endpoints}
    return {
        name: stored.bundle.certificate(name)
        for name in inventory.certificates
        if name in used
        and (stored := store.bundles.current(name)) is not None
        and stored.revoked is None
    }


def probed(hosts: "Sequence[Host]") -> "list[tuple[Host, Served]]":
    """Shake hands with every endpoint of the hosts, many at once."""
    from distributor.clients.tls import probe

    endpoints = [(host, endpoint) for host in hosts for endpoint in host.endpoints]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        served = pool.map(lambda place: probe(place[1]), endpoints)
        return [(host, one) for (host, _), one in zip(endpoints, served, strict=True)]


def _is_well(one: "Served", wanted: "Mapping[str, Certificate]") -> bool:
    expected = wanted.get(one.endpoint.certificate)
    return expected is not None and one.serves(expected)


def _lines(
    seen: "list[tuple[Host, Served]]", wanted: "Mapping[str, Certificate]", now: datetime
) -> "Iterator[Text]":
    from rich.text import Text

    from distributor.render.text import error_lines
    from distributor.render.words import certificate_text

    for host, one in seen:
        head = Text(f"{host.name}  {one.endpoint}  ", style="bold")
        if one.error is not None:
            yield head.append("cannot be asked", style="red")
            yield from error_lines(one.error, "    ")
        elif one.certificate is not None:
            well = _is_well(one, wanted)
            known = one.endpoint.certificate in wanted
            word = "as wanted" if well else _difference(one, wanted) if known else "none stored"
            head.append(word, style="green" if well else "red")
            yield head.append("  " + certificate_text(one.certificate, now))


def _difference(one: "Served", wanted: "Mapping[str, Certificate]") -> str:
    expected = wanted[one.endpoint.certificate]
    same_leaf = one.certificate is not None and one.certificate.leaf == expected.leaf
    return "another chain" if same_leaf else "another leaf"


def _as_json(
    chosen: "Sequence[Host]",
    seen: "list[tuple[Host, Served]]",
    wanted: "dict[str, Certificate]",
    code: int,
) -> dict[str, Any]:
    from distributor.render.as_json import endpoint_as_json

    hosts: dict[str, list[dict[str, Any]]] = {host.name: [] for host in chosen}
    for host, one in seen:
        hosts[host.name].append(endpoint_as_json(one, wanted))
    return {
        "exit": code,
        "hosts": [{"name": name, "endpoints": endpoints} for name, endpoints in hosts.items()],
    }
