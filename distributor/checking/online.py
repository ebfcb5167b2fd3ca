"""Every check that needs a connection: CAs, zones and hosts at once, none stopped by another.

It changes no certificate. What it writes is a TXT record for each name and the journal of it, and
in the state folder what a login leaves: a refused one (`refusals.toml`), or a device token that the
host gave (`devices.toml`).
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

from distributor.checking.hosts import HostFacts, judge_host, login_port
from distributor.checking.remarks import Remark, error_remark
from distributor.checking.shells import PATHS, commands
from distributor.model.bundle import Certificate
from distributor.model.errors import (
    DistributorError,
    Interrupted,
    SecretError,
    Unreachable,
    Untrusted,
)
from distributor.model.hosts import AcmeSource, Host, Inventory, SshAccess
from distributor.model.inside import Inside
from distributor.model.web import Front, PlainAnswer
from distributor.reading import Reading, read
from distributor.reading import Tools as ReadingTools
from distributor.unexpected import known_errors

log = logging.getLogger(__name__)

AT_ONCE: Final = 32

Step = Callable[[str, str], None]


class Tools(ReadingTools, Protocol):
    """What the checks need from outside; `wiring` gives it."""

    def reach_ca(self, source: AcmeSource) -> None:
        """Read the CA's directory; raises IssuanceError, also where an order would be refused."""

    def rehearse(
        self, certificate: str, progress: Callable[[str], None]
    ) -> Mapping[str, DistributorError]:
        """Publish and remove a TXT value for each name; return what went wrong, by name."""

    def addresses(self, name: str, certificate: str) -> tuple[str, ...]:
        """Return the addresses of a name as that certificate's resolvers see it; DnsRefused."""

    def front(self, host: Host, certificates: Mapping[str, Certificate], name: str) -> Front:
        """Ask the host's HTTPS port for `name`; raises HostError."""

    def plain(self, host: Host) -> PlainAnswer | None:
        """Ask the host's plain HTTP port, where that is known."""

    def inside(self, host: Host, paths: Sequence[str], commands: Sequence[str]) -> Inside:
        """Sign in by SSH and look around; raises DistributorError."""


def check_online(
    inventory: Inventory,
    stored: Mapping[str, Certificate],
    tools: Tools,
    step: Step,
    stop: threading.Event,
) -> tuple[Remark, ...]:
    """Return what is wrong or worth knowing, in the order of the inventory.

    `stored` is what the store holds, by name. `step` hears (what, text) of the work. Once `stop` is
    set nothing more is begun, and what was published is removed.
    """
    names = {name: one.names for name, one in inventory.certificates.items()}
    tasks: list[Callable[[], Iterable[Remark]]] = [
        *(partial(_ca, certificates, source, tools) for certificates, source in _cas(inventory)),
        *(
            partial(_zone, name, tools, step)
            for name, one in inventory.certificates.items()
            if isinstance(one.source, AcmeSource)
        ),
        *(
            partial(_host, host, _held(host, stored), names, tools, step)
            for host in inventory.hosts.values()
        ),
    ]

    def done(task: Callable[[], Iterable[Remark]]) -> tuple[Remark, ...]:
        if stop.is_set():
            return ()
        try:
            return tuple(task())
        except Interrupted:
            return ()

    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="check") as pool:
        return tuple(remark for found in pool.map(done, tasks) for remark in found)


def _cas(inventory: Inventory) -> Iterator[tuple[tuple[str, ...], AcmeSource]]:
    """Give each CA once for what is wanted of it, with the certificates it is to issue.

    A fallback is one of them: it is of use only if it issues when it is needed.
    """
    found: dict[tuple[object, ...], tuple[AcmeSource, list[str]]] = {}
    for name, one in inventory.certificates.items():
        if isinstance(one.source, AcmeSource):
            for ca in (one.source, *one.source.fallback):
                wanted = (ca.directory_url, ca.ca_bundle, ca.profile, ca.eab is not None)
                found.setdefault(wanted, (ca, []))[1].append(name)
    for source, certificates in found.values():
        yield tuple(certificates), source


def _ca(certificates: tuple[str, ...], source: AcmeSource, tools: Tools) -> Iterator[Remark]:
    try:
        with known_errors(f"ca={source.directory_url}"):
            tools.reach_ca(source)
    except DistributorError as error:
        yield error_remark(f"certificate {', '.join(certificates)}", error, "ca")


def _zone(certificate: str, tools: Tools, step: Step) -> Iterator[Remark]:
    try:
        with known_errors(f"certificate={certificate}"):
            failures = tools.rehearse(
                certificate, lambda text: step(f"certificate {certificate}", text)
            )
    except Interrupted:
        raise
    except DistributorError as error:
        yield error_remark(f"certificate {certificate}", error, "dns")
        return
    for name, failure in failures.items():
        yield error_remark(f"certificate {certificate}, {name}", failure, "dns")


def _host(
    host: Host,
    stored: Mapping[str, Certificate],
    names: Mapping[str, tuple[str, ...]],
    tools: Tools,
    step: Step,
) -> Iterator[Remark]:
    step(host.name, "looking")
    try:
        with known_errors(f"host={host.name}"):
            reading = read(host, stored, tools)
            facts = HostFacts(
                reading=reading,
                own=_own_addresses(host, tools),
                names=_endpoint_names(host, tools),
                fronts=_fronts(reading, stored, tools),
                plain=tools.plain(host),
                inside=_inside(reading, tools),
            )
    except Interrupted:
        raise
    except DistributorError as error:
        yield error_remark(f"host {host.name}", error, "host")
        return
    step(host.name, "looked at")
    yield from judge_host(facts, names)


def _held(host: Host, stored: Mapping[str, Certificate]) -> dict[str, Certificate]:
    return {name: stored[name] for name in host.certificates if name in stored}


def _own_addresses(host: Host, tools: Tools) -> tuple[str, ...]:
    # One that only gives a certificate is asked for as its endpoints are.
    certificates = (*host.certificates, *(one.certificate for one in host.endpoints))
    if not certificates:
        return ()  # no endpoint has a name that could be compared with it
    try:
        return tools.addresses(host.address, certificates[0])
    except DistributorError as error:
        # That the host's own name cannot be found shows as a host that cannot be reached.
        log.info("check host=%s step=addresses error=%s", host.name, error.kind)
        return ()


def _endpoint_names(host: Host, tools: Tools) -> dict[str, tuple[str, ...] | DistributorError]:
    found: dict[str, tuple[str, ...] | DistributorError] = {}
    for one in host.endpoints:
        name = one.server_name
        if name is not None and name not in found:
            try:
                found[name] = tools.addresses(name, one.certificate)
            except DistributorError as error:
                found[name] = error
    return found


def _fronts(reading: Reading, stored: Mapping[str, Certificate], tools: Tools) -> dict[str, Front]:
    """Ask the login port for its own name, and for each name that an endpoint asks it for."""
    if isinstance(reading.error, Unreachable | Untrusted):
        return {}
    host, port = reading.host, login_port(reading.host)
    if port is None:
        return {}
    asked = [host.address]
    asked += [one.server_name for one in host.endpoints if one.server_name and one.address == port]
    found: dict[str, Front] = {}
    for name in dict.fromkeys(asked):
        try:
            found[name] = tools.front(host, stored, name)
        except DistributorError as error:
            # The reading tells what is wrong with the host; this would say it again.
            log.info("check host=%s step=front error=%s", host.name, error.kind)
    return found


def _inside(reading: Reading, tools: Tools) -> Inside | DistributorError | None:
    """Look around on a host by SSH, unless nobody gets in; that, the reading tells."""
    host, error = reading.host, reading.error
    if not isinstance(host.access, SshAccess):
        return None
    if isinstance(error, Unreachable | Untrusted | SecretError):
        return None
    if error is not None and error.step == "login":
        return None
    try:
        return tools.inside(host, PATHS if host.kind != "files" else (), commands(host))
    except DistributorError as failure:
        return failure
