"""What is wrong with one host, judged from what was seen of it. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from distributor.checking.names import judge_names
from distributor.checking.remarks import Remark, clock_remark, error_remark
from distributor.checking.shells import judge_inside
from distributor.inventory.names import server_name
from distributor.model.bundle import covers
from distributor.model.errors import DeviceRefused, DistributorError, ProtocolError, Unreachable
from distributor.model.hosts import ApiAccess, Host, SocketAddress
from distributor.model.inside import Inside
from distributor.model.state import State
from distributor.model.text import printable
from distributor.model.web import Front, PlainAnswer
from distributor.reading import Reading

NOT_FOUND: Final = 404
_RIGHTS: Final = frozenset({105, 117, 160})
"""What boxes answer to an account that is no administrator (dsm-web-api facts 2.4)."""
_PROXY: Final = "ReverseProxy/"
_HTTPS: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What was seen of one host, without changing anything."""

    reading: Reading
    own: tuple[str, ...]
    """Its addresses, by the inventory's `address`."""
    names: Mapping[str, tuple[str, ...] | DistributorError]
    """Addresses of each name that an endpoint is asked for, or why they are not known."""
    fronts: Mapping[str, Front]
    """What its HTTPS port answered when asked for each of these names."""
    plain: PlainAnswer | None
    """What its plain HTTP port answers; None when it does not, or is not known."""
    inside: Inside | DistributorError | None = None
    """What it shows by SSH, or why it does not; None where nobody could look."""


def judge_host(facts: HostFacts, certificates: Mapping[str, Iterable[str]]) -> Iterator[Remark]:
    """Give what is to be said of one host; `certificates` has the names of each."""
    host = facts.reading.host
    yield from _login(facts)
    yield from _endpoints(facts.reading)
    yield from judge_names(host, facts.own, facts.names)
    yield from _clock(facts)
    if facts.inside is not None:
        yield from judge_inside(host, facts.inside, is_read=facts.reading.error is None)
    yield from _customised_domain(facts)
    yield from _plain_http(facts)
    if facts.reading.state is not None:
        yield from _proxies(host, facts.reading.state, certificates)


def login_port(host: Host) -> SocketAddress | None:
    """Return the port of a host's Web API, None for a host that has no such way."""
    access = host.access
    return SocketAddress(host.address, access.port) if isinstance(access, ApiAccess) else None


def _login(facts: HostFacts) -> Iterator[Remark]:
    """Say why nothing could be read."""
    host, error = facts.reading.host, facts.reading.error
    if error is None:
        return
    about = f"host {host.name}"
    if isinstance(error, DeviceRefused) and error.code in _RIGHTS:
        yield Remark(
            name="rights",
            about=about,
            message=f"the account '{printable(host.access.user)}' signs in, but may not list "
            f"certificates (code {error.code})",
            hint="put it into the group administrators: Control Panel > User & Group; DSM has no "
            "smaller right for certificates",
        )
    elif isinstance(error, ProtocolError) and error.code == NOT_FOUND:
        port = login_port(host)
        yield Remark(
            name="customised-domain",
            about=about,
            message=f"its Web API at {port} answers 404: so does DSM on its own port when it is "
            "asked for its customised domain",
            hint="if the name is set in Control Panel > Login Portal > DSM > Domain, write the "
            "box's IP address (or another of its names) as `address`, and this name as "
            "`server_name`; else correct `address` and `port`",
        )
    else:
        name = "rights" if error.step == "sudo" else _NAMES.get(error.kind, "host")
        yield error_remark(about, error, name)


_NAMES: Final = {
    "Untrusted": "not-trusted",
    "AuthRefused": "login",
    "SecretError": "secret",
    "Unreachable": "unreachable",
}


def _endpoints(reading: Reading) -> Iterator[Remark]:
    """Name endpoints that cannot be asked; a dead host's own port was named already."""
    dead = login_port(reading.host) if isinstance(reading.error, Unreachable) else None
    for one in reading.served:
        if one.error is not None and one.endpoint.address != dead:
            yield error_remark(f"host {reading.host.name}", one.error, "endpoint")


def _clock(facts: HostFacts) -> Iterator[Remark]:
    skews = [one.skew for one in facts.fronts.values() if one.skew is not None]
    if skews:
        about = f"host {facts.reading.host.name}"
        yield from clock_remark(about, skews[0], "Control Panel > Regional Options > Time")


def _customised_domain(facts: HostFacts) -> Iterator[Remark]:
    """Explain names that only some port answers; that the box itself answers was seen."""
    answered = any(one.status != NOT_FOUND for one in facts.fronts.values())
    for name, front in facts.fronts.items():
        if front.status == NOT_FOUND and answered and name != facts.reading.host.address:
            port = login_port(facts.reading.host)
            yield Remark(
                name="customised-domain",
                about=f"host {facts.reading.host.name}",
                message=f"a browser that asks port {port.port if port else ''} for "
                f"{printable(name)} gets 404: it is the box's customised domain, which DSM serves "
                "on port 443 only",
                hint=f"open https://{printable(name)}/ without the port; the certificate is proved "
                "here all the same",
                is_finding=False,
            )


def _plain_http(facts: HostFacts) -> Iterator[Remark]:
    """Note a plain HTTP port that takes logins, or sends people elsewhere."""
    plain, host = facts.plain, facts.reading.host
    if plain is None or plain.status == NOT_FOUND:
        return
    about = f"host {host.name}"
    target = _https_host(plain.location or "")
    if target is None:
        yield Remark(
            name="plain-http",
            about=about,
            message="its plain HTTP port shows pages instead of sending browsers to HTTPS: what "
            "people type there travels unprotected",
            hint="Control Panel > Login Portal > DSM: redirect HTTP connections to HTTPS",
            is_finding=False,
        )
        return
    if target not in {host.address.lower(), *facts.names}:
        yield Remark(
            name="redirect",
            about=about,
            message=f"its plain HTTP port sends browsers to {printable(plain.location)}, a name "
            "that no endpoint here proves",
            hint="add an endpoint for that name, or correct the domain in Control Panel > Login "
            "Portal > DSM",
            is_finding=False,
        )


def _https_host(location: str) -> str | None:
    """Return the host of an https URL, None for anything else."""
    try:
        url = urlsplit(location)
    except ValueError:
        return None
    return url.hostname if url.scheme == "https" else None


def _proxies(
    host: Host, state: State, certificates: Mapping[str, Iterable[str]]
) -> Iterator[Remark]:
    """Propose an endpoint for each reverse proxy that a delivered certificate covers."""
    known = {one.server_name for one in host.endpoints}
    names = [name for own in host.certificates for name in certificates.get(own, ())]
    for service in state.of_kind("service"):
        if not service.id.startswith(_PROXY):
            continue
        try:
            name = server_name(service.name)
        except ValueError:
            continue  # a rule for every name, or for a port alone: nothing to ask for by SNI
        if name in known or not covers(names, name):
            continue
        address = SocketAddress(host.address, _HTTPS)
        line = f'{{ address = "{address}", server_name = "{name}", service = "{name}" }}'
        yield Remark(
            name="reverse-proxy",
            about=f"host {host.name}",
            message=f"it has a reverse proxy for {name}, which no endpoint proves",
            hint=f"add to its `endpoints`: {line} (another port if the rule has one)",
            is_finding=False,
        )
