"""What a device holds before we come, and what the inventory wants of it: one for each way to go.

Every device also has its own self-signed entry, which is the default and which every service uses
until somebody is placed otherwise, and the services of `SERVICES`.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from distributor.lab.knobs import HOSTILE_DESCRIPTION
from distributor.model.bundle import Bundle, assemble
from distributor.model.hosts import Delivery, PemPaths
from tests.certs import DAY, NOW, Issued, PrivateKey, hierarchy, private_key

DSM: Final = "DSM Desktop Service"
FTPS: Final = "FTPS"
DRIVE: Final = "Synology Drive Server"
PROXY: Final = "git.example.test"
QUICKCONNECT: Final = "QuickConnect"
OWN_PORT: Final = "the router's own port"
HTTPS_PORT: Final = "the router's other port"
SERVICES: Final = (DSM, FTPS, DRIVE, PROXY, QUICKCONNECT)

_ISSUER = hierarchy(1)


def bundle_of(issued: Issued) -> Bundle:
    return assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )


def issue(*names: str, lasts: timedelta = 90 * DAY) -> Bundle:
    """A bundle with a chain of one intermediate; another `lasts`, another leaf."""
    return bundle_of(_ISSUER.issue(names, not_after=NOW + lasts))


OLD: Final = issue("example.test", "*.example.test", lasts=20 * DAY)
NEW: Final = issue("example.test", "*.example.test")
MAIL: Final = issue("mail.example.test")
MAIL_OLD: Final = issue("mail.example.test", lasts=15 * DAY)
STRANGER: Final = issue("example.test", "*.example.test", lasts=50 * DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An entry that somebody put on the device before."""

    id: str
    description: str
    bundle: Bundle
    services: tuple[str, ...] = ()
    is_default: bool = False
    has_chain: bool = True
    is_stored: bool = False
    """Our store has the pair, so that it need not be read from the device."""


STRANGERS: Final = (
    Placed(
        id="decoyA",
        description="intranet",
        bundle=issue("intranet.decoy.test"),
        services=(DRIVE,),
    ),
    Placed(id="decoyB", description=HOSTILE_DESCRIPTION, bundle=issue("other.decoy.test")),
)
"""Entries of other people, one of them in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    placed: tuple[Placed, ...] = STRANGERS
    deliveries: tuple[Delivery, ...] = (Delivery(certificate="wild"),)
    bundles: Mapping[str, Bundle] = field(default_factory=lambda: {"wild": NEW})
    proved: Mapping[str, str] = field(default_factory=lambda: {DSM: "wild"})
    """Services that an endpoint of the inventory shows, with the certificate it should serve."""
    makes: int = 0
    """How many entries the device has more afterwards."""
    stranger: Bundle = field(default_factory=lambda: STRANGER)
    """What nobody of us brought."""

    def __str__(self) -> str:
        return self.name


def ours(bundle: Bundle = OLD, **more: object) -> Placed:
    """The entry of an earlier delivery, on DSM's own port."""
    facts: dict[str, object] = {"id": "known1", "description": "wild", "services": (DSM,)}
    return Placed(bundle=bundle, **(facts | more))  # type: ignore[arg-type]  # as Placed checks


SCENARIOS: Final = (
    Scenario(name="a device from the shop gets a new entry", placed=(), makes=1),
    Scenario(
        name="a new entry beside others becomes the default",
        deliveries=(Delivery(certificate="wild", description="our wildcard", default=True),),
        makes=1,
    ),
    Scenario(
        name="an entry is found by its description",
        placed=(*STRANGERS, ours(description="our wildcard", services=(DSM, FTPS))),
        deliveries=(Delivery(certificate="wild", description="our wildcard"),),
    ),
    Scenario(
        name="an entry full of markup is found by its id",
        placed=(ours(description=HOSTILE_DESCRIPTION, is_default=True), *STRANGERS),
        deliveries=(Delivery(certificate="wild", id="known1"),),
    ),
    Scenario(
        name="an entry that somebody uploaded is adopted",
        placed=(*STRANGERS, ours(description="by hand", services=(DSM, PROXY), is_default=True)),
        proved={DSM: "wild", PROXY: "wild"},
    ),
    Scenario(
        name="an entry is replaced whose pair the store has",
        placed=(*STRANGERS, ours(is_stored=True)),
    ),
    Scenario(
        name="a new entry takes every service",
        deliveries=(Delivery(certificate="wild", services="all"),),
        proved={DSM: "wild", FTPS: "wild", DRIVE: "wild"},
        makes=1,
    ),
    Scenario(
        name="listed services move to an entry that nobody uses",
        placed=(*STRANGERS, ours(services=())),
        deliveries=(
            Delivery(certificate="wild", services=("ftps", "SynologyDrive/SynologyDrive", PROXY)),
        ),
        proved={FTPS: "wild"},
    ),
    Scenario(
        name="two certificates, one replaced and one new",
        placed=(*STRANGERS, ours()),
        deliveries=(
            Delivery(certificate="wild"),
            Delivery(certificate="mail", services=(FTPS,)),
        ),
        bundles={"wild": NEW, "mail": MAIL},
        proved={DSM: "wild", FTPS: "mail"},
        makes=1,
    ),
    Scenario(
        name="a missing chain is repaired",
        placed=(*STRANGERS, ours(NEW, has_chain=False)),
    ),
    Scenario(
        name="a missing chain is repaired though the store has the pair whole",
        placed=(*STRANGERS, ours(NEW, has_chain=False, is_stored=True)),
    ),
    Scenario(
        name="an entry that is right becomes the default",
        placed=(*STRANGERS, ours(NEW)),
        deliveries=(Delivery(certificate="wild", default=True),),
    ),
    Scenario(
        name="what answers to the name of an endpoint moves to a known entry",
        placed=(*STRANGERS, ours()),
        proved={DSM: "wild", PROXY: "wild"},
    ),
    Scenario(
        name="what answers to the names of two endpoints gets two certificates",
        deliveries=(Delivery(certificate="wild"), Delivery(certificate="mail", services=())),
        bundles={"wild": NEW, "mail": MAIL},
        proved={DSM: "wild", PROXY: "mail"},
        makes=2,
    ),
    Scenario(
        name="a service moves to an entry that is right",
        placed=(*STRANGERS, ours(NEW)),
        deliveries=(Delivery(certificate="wild", services=(FTPS,)),),
        proved={DSM: "wild", FTPS: "wild"},
    ),
)

ROUTER_SCENARIOS: Final = (
    Scenario(name="a router from the shop", placed=(), proved={OWN_PORT: "wild"}),
    Scenario(
        name="an imported certificate is replaced",
        placed=(ours(services=()),),
        proved={OWN_PORT: "wild", HTTPS_PORT: "wild"},
    ),
    Scenario(
        name="an imported certificate is replaced whose pair the store has",
        placed=(ours(services=(), is_stored=True),),
        proved={OWN_PORT: "wild"},
    ),
    Scenario(
        name="a router's missing chain is repaired",
        placed=(ours(NEW, services=(), has_chain=False),),
        proved={OWN_PORT: "wild"},
    ),
    Scenario(
        name="a router's missing chain is repaired though the store has the pair whole",
        placed=(ours(NEW, services=(), has_chain=False, is_stored=True),),
        proved={OWN_PORT: "wild"},
    ),
)
"""The same of a device with one certificate, which serves everything."""


ON_HOST: Final = "a port of what uses the files"
OTHER_PORT: Final = "another port of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesScenario(Scenario):
    """PEM files on a host; `placed` is of no meaning there but for its keys."""

    paths: PemPaths
    """Of which the names alone count, and what the inventory wants of owner and mode."""
    there: Mapping[str, bytes] = field(default_factory=dict)
    """What each file holds before, by name."""
    proved: Mapping[str, str] = field(default_factory=lambda: {ON_HOST: "wild"})


def _key(bundle: Bundle) -> bytes:
    return bundle.private_key_pem.reveal().encode("ascii")


_TWO: Final = PemPaths(fullchain="full.pem", private_key="key.pem")
_OLD_TWO: Final = {"full.pem": OLD.fullchain_pem, "key.pem": _key(OLD)}
CHAIN_MADE: Final = FilesScenario(
    name="a chain file that was not there is made beside a pair that is served",
    placed=(ours(),),
    paths=PemPaths(fullchain="full.pem", private_key="key.pem", chain="chain.pem"),
    there=_OLD_TWO,
    makes=1,
)
FILES_SCENARIOS: Final = (
    FilesScenario(name="files that are not there are made", placed=(), paths=_TWO, makes=2),
    FilesScenario(
        name="fullchain and key are replaced",
        placed=(ours(),),
        paths=_TWO,
        there=_OLD_TWO,
        proved={ON_HOST: "wild", OTHER_PORT: "wild"},
    ),
    FilesScenario(
        name="one file holds all of it",
        placed=(ours(),),
        paths=PemPaths(combined="full.pem"),
        there={"full.pem": OLD.fullchain_pem + _key(OLD)},
    ),
    FilesScenario(
        name="a file of each kind, and one with another mode",
        placed=(ours(),),
        paths=PemPaths(
            fullchain="full.pem",
            private_key="key.pem",
            leaf="leaf.pem",
            chain="my chain's.pem",
            combined="both.pem",
            mode="640",
        ),
        there={**_OLD_TWO, "leaf.pem": OLD.leaf_pem, "both.pem": NEW.fullchain_pem + _key(NEW)},
        makes=1,
    ),
    FilesScenario(
        name="a torn pair is repaired",
        placed=(ours(),),
        paths=_TWO,
        there={"full.pem": OLD.fullchain_pem, "key.pem": _key(NEW)},
    ),
    FilesScenario(
        name="a chain that is missing in a file is repaired",
        placed=(ours(),),
        paths=_TWO,
        there={"full.pem": NEW.leaf_pem, "key.pem": _key(NEW)},
    ),
    FilesScenario(
        name="text that is no PEM is replaced",
        placed=(ours(),),
        paths=_TWO,
        there={"full.pem": b"# to be filled in\n", "key.pem": b""},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What one kind of device is tested with."""

    scenarios: tuple[Scenario, ...]
    faulty: tuple[Scenario, ...]
    """Those that meet a fault at every write."""
    walked: Scenario
    """The one whose connection is cut at every request."""
    ambiguous: Scenario
    """The inventory does not say enough for it."""
    ambiguous_words: str
    apart: Scenario
    """Two endpoints are to be proved by what each of them shows."""


DSM_CASES: Final = Cases(
    scenarios=SCENARIOS,
    faulty=SCENARIOS,
    walked=SCENARIOS[1],
    ambiguous=Scenario(name="twins", placed=(*STRANGERS, ours(), ours(id="known2", services=()))),
    ambiguous_words=r"known1.*known2",
    apart=Scenario(
        name="apart",
        placed=(*STRANGERS, ours(services=(FTPS,))),
        proved={DSM: "wild", FTPS: "wild"},
    ),
)


FILES_CASES: Final = Cases(
    scenarios=FILES_SCENARIOS,
    faulty=FILES_SCENARIOS,
    walked=FILES_SCENARIOS[1],
    ambiguous=FilesScenario(
        name="two certificates for the same files",
        placed=(),
        paths=_TWO,
        deliveries=(Delivery(certificate="wild"), Delivery(certificate="mail")),
        bundles={"wild": NEW, "mail": MAIL},
    ),
    ambiguous_words=r"wild.*mail",
    apart=FILES_SCENARIOS[1],
)


_MAIL_ENTRY: Final = {"id": "known2", "description": "mail", "services": (FTPS,)}

DSM_FILES_SCENARIOS: Final = (
    *(one for one in SCENARIOS if one.name.startswith(("an entry is", "an entry that somebody"))),
    *(one for one in SCENARIOS if one.name.startswith(("an entry full", "a missing chain"))),
    Scenario(
        name="two certificates, both replaced",
        placed=(*STRANGERS, ours(), ours(MAIL_OLD, **_MAIL_ENTRY)),
        deliveries=(Delivery(certificate="wild"), Delivery(certificate="mail")),
        bundles={"wild": NEW, "mail": MAIL},
        proved={DSM: "wild", FTPS: "mail"},
    ),
)
"""Those in which every entry and binding stays as it is: files alone are replaced."""

DSM_FILES_CASES: Final = Cases(
    scenarios=DSM_FILES_SCENARIOS,
    faulty=DSM_FILES_SCENARIOS,
    walked=DSM_FILES_SCENARIOS[0],
    ambiguous=DSM_CASES.ambiguous,
    ambiguous_words=DSM_CASES.ambiguous_words,
    apart=Scenario(
        name="apart",
        placed=(*STRANGERS, ours(services=(DSM, FTPS))),
        proved={DSM: "wild", FTPS: "wild"},
    ),
)


def is_exhaustive() -> bool:
    """Whether every device is to meet every fault: DISTRIBUTE_EXHAUSTIVE=1."""
    return os.environ.get("DISTRIBUTE_EXHAUSTIVE") == "1"


def in_part(cases: Cases, seed: str, *, number: int = 6, faulty: int = 2) -> Cases:
    """Return a part of the cases, the same for one seed, unless all are asked for."""
    if is_exhaustive():
        return cases
    chosen = random.Random(seed).sample(cases.scenarios, number)  # noqa: S311 - the same part each time
    return replace(cases, scenarios=tuple(chosen), faulty=tuple(chosen[:faulty]))


def for_files(cases: Cases, seed: str, part: int) -> Cases:
    """Return the cases for devices that are read like files, or `part` of them if that will do.

    What our store holds makes no difference there.
    """
    kept = tuple(
        one for one in cases.scenarios if not any(placed.is_stored for placed in one.placed)
    )
    if is_exhaustive():
        return replace(cases, scenarios=kept, faulty=kept)
    chosen = random.Random(seed).sample(kept, part)  # noqa: S311 - the same part each time
    return replace(cases, scenarios=tuple(chosen), faulty=tuple(chosen[:1]))


def with_rsa(cases: Cases) -> Cases:
    """Return the cases with RSA keys, for devices that take no other."""
    return replace(
        cases,
        scenarios=tuple(map(scenario_with_rsa, cases.scenarios)),
        faulty=tuple(map(scenario_with_rsa, cases.faulty)),
        walked=scenario_with_rsa(cases.walked),
        ambiguous=scenario_with_rsa(cases.ambiguous),
        apart=scenario_with_rsa(cases.apart),
    )


def scenario_with_rsa(scenario: Scenario) -> Scenario:
    """Return the scenario with RSA keys."""
    return replace(
        scenario,
        placed=tuple(replace(one, bundle=rsa_of(one.bundle)) for one in scenario.placed),
        bundles={name: rsa_of(one) for name, one in scenario.bundles.items()},
        stranger=rsa_of(scenario.stranger),
    )


_RSA: Final[dict[str, Bundle]] = {}


def rsa_of(bundle: Bundle) -> Bundle:
    """Return a bundle like this one, always the same, with an RSA key of its own."""
    certificate = bundle.certificate("")
    if certificate.leaf not in _RSA:
        _RSA[certificate.leaf] = _like(bundle, private_key("rsa2048", number=len(_RSA)))
    return _RSA[certificate.leaf]


def _like(bundle: Bundle, key: PrivateKey) -> Bundle:
    certificate = bundle.certificate("")
    return bundle_of(
        _ISSUER.issue(
            certificate.names,
            key=key,
            not_before=bundle.leaf.not_valid_before_utc,
            not_after=bundle.leaf.not_valid_after_utc,
            common_name=certificate.common_name,
        )
    )


ROUTER_CASES: Final = with_rsa(
    Cases(
        scenarios=ROUTER_SCENARIOS,
        faulty=ROUTER_SCENARIOS,
        walked=ROUTER_SCENARIOS[0],
        ambiguous=Scenario(
            name="two certificates for one place",
            placed=(),
            deliveries=(Delivery(certificate="wild"), Delivery(certificate="mail")),
            bundles={"wild": NEW, "mail": MAIL},
            proved={OWN_PORT: "wild"},
        ),
        ambiguous_words=r"wild.*mail",
        apart=ROUTER_SCENARIOS[1],
    )
)
