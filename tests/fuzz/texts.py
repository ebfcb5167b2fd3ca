"""Text from anywhere: shown to people, read as an inventory, found in files of the state folder."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from distributor import inventory
from distributor.cli.deliver import _read_plan
from distributor.model.backoff import next_try
from distributor.model.budget import Ask, Event, failures, last_failure, left, pruned, refusal
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import (
    BundleError,
    DeviceRefused,
    InventoryError,
    Problem,
    StateError,
    Unreachable,
    UsageError,
)
from distributor.model.hazards import Hazard
from distributor.model.hosts import KNOWN_CAS, Endpoint, SocketAddress
from distributor.model.plan import Change, Plan, digest_of
from distributor.model.renewal import Outlook
from distributor.model.report import CertificateOutcome, Outcome, Report
from distributor.model.reviewed import is_fulfilled, reviewed_from_json
from distributor.model.secret import Secret
from distributor.model.state import UNREADABLE, Address, State
from distributor.model.text import LIMIT, printable
from distributor.render.as_json import failure_as_json, report_as_json
from distributor.render.progress import LineProgress
from distributor.render.text import report_lines
from distributor.render.words import certificate_text
from distributor.store import Store
from tests.certs import NOW, self_signed
from tests.fuzz.judging import Target, only, require_harmless, require_harmless_lines

ROOT: Final = Path(__file__).parents[2]
_LEAF: Final = "sha256:" + "0" * 64
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own in it
"""Where files need no disk: a sync takes its time there."""
FILE: Final = Path("/srv/inventory/inventory.toml")


def _printable(data: bytes) -> None:
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        shown = printable(text)
        require_harmless(shown)
        assert len(shown) <= LIMIT


def _inventory(data: bytes) -> None:
    text, problem = inventory._decoded(data)
    if problem is not None:
        return
    found, problems = inventory.read(text, FILE, private=True)
    assert (found is None) is bool(problems)
    for one in problems:
        require_harmless(str(one))
        assert one.line is None or one.line >= 1
    with only(InventoryError):
        inventory.parse(text, path=FILE, private=False)


def _inventories() -> tuple[bytes, ...]:
    example = (ROOT / "inventory.example.toml").read_bytes()
    from tests.unit.sound_inventory import SOUND

    more = '[rollout]\ncanary = "attic"\nparallel = 2\n[defaults]\nuser = "certs"\n'
    return example, SOUND.encode(), (SOUND + more).encode()


def _report(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape") or "x"
    report = _hostile_report(text)
    plain, colour = io.StringIO(), io.StringIO()
    consoles = [
        Console(file=plain, no_color=True, highlight=False, markup=False, emoji=False),
        Console(
            file=colour,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
            markup=False,
            emoji=False,
        ),
    ]
    for console in consoles:
        for line in report_lines(report, NOW, details=True):
            console.print(line, soft_wrap=True)
        progress = LineProgress(console, steps=True)
        progress.certificate(text, text)
        progress.step(text, text)
        for outcome in report.hosts:
            progress.ended(outcome)
    for written in (plain, colour):
        require_harmless_lines(written.getvalue())
    assert "\x1b" not in plain.getvalue()
    error = InventoryError(text, (Problem(text, text, 1),))
    for told in (report_as_json(report), failure_as_json(error, 2)):
        written_json = json.dumps(told, indent=2)
        assert written_json.isascii()
        json.loads(written_json, parse_constant=_refused)


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _hostile_report(text: str) -> Report:
    """Return a report in which every text that can come from outside is this one."""
    shown = Certificate(
        name=text,
        leaf=text,
        names=(text, text),
        key_type=text,
        chain=(text,),
        key=text,
        common_name=text,
        issued_by=text,
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )
    entry, service = Address("certificate", text, text), Address("service", text, text)
    facts = {"description": text, "leaf": text, "names": (text,), "certificate": entry}
    changes = (
        Change(entry, "names", (text,), (f"{text}2",), text),
        Change(entry, "description", text, text, text),
        Change(entry, "leaf", UNREADABLE, text, text),
        Change(service, "certificate", entry, entry, text),
        Change(Address("file", text), "mode", None, text, text),
        Change(service, text, text, text, text),
    )
    plan = Plan(
        host=text,
        observed=State({entry: facts}),
        changes=changes,
        certificates=(shown,),
        removals=(Change(entry, "entry", text, text, text),),
        unproved=(text,),
        notes=(text,),
    )
    error = DeviceRefused(text, hint=text, step=text, code=1)
    endpoint = Endpoint(address=SocketAddress(text, 1), certificate=text, service=text)
    served = (
        Served(endpoint=endpoint, certificate=shown),
        Served(endpoint=endpoint, error=Unreachable(text, hint=text, step=text)),
    )
    statuses = ("changed", "broken", "unchanged")
    return Report(
        started=NOW,
        seconds=1.0,
        dry_run=True,
        certificates=tuple(
            CertificateOutcome(
                name=text,
                status=status,  # type: ignore[arg-type]  # the literals
                reason=text,
                certificate=shown,
                error=error,
                warnings=(text,),
                outlook=Outlook(reason=text),
            )
            for status in ("current", "failed")
        ),
        hosts=tuple(
            Outcome(
                host=text,
                kind=text,
                via=text,
                status=status,  # type: ignore[arg-type]  # the literals
                certificates=(text,),
                seconds=0.5,
                proof="handshake",
                plan=plan,
                endpoints=served,
                wanted=(shown,),
                hazards=(Hazard(text, text),),
                error=error,
                warnings=(text,),
            )
            for status in statuses
        ),
    )


_TEXTS: Final = (
    b"wildcard example.com",
    "\x1b[2J\x1b]0;title\x07 \u202etxt.exe \u009b31m [bold red]x[/] <b>&amp;".encode(),
    "line\nline\r\x0b\x0c\u2028\u2029 \ufeff e\u0301\u0301 \U000e0041 \ue000".encode(),
    b"%s {0} ${HOME} `id` \\ \" ' \xff\xfe\xed\xa0\x80",
    b"a" * 5000,
)


def _saved_plan(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place, only(UsageError):
        path = Path(place, "plan.json")
        path.write_bytes(data)
        _read_plan(path)
    try:
        told = json.loads(data)
        body = {name: told[name] for name in ("version", "certificates", "hosts")}
        forged = {**body, "digest": digest_of(body)}
    except (ValueError, RecursionError, TypeError, KeyError):
        return
    with only(UsageError):
        reviewed = reviewed_from_json(forged, "the plan")
        for one in reviewed.certificates.values():
            is_fulfilled(one, one, one)
            require_harmless(certificate_text(one, NOW))


_SAVED: Final = {
    "version": 0,
    "certificates": {
        "home": {
            "leaf": _LEAF,
            "names": ["example.com"],
            "key_type": "ec256",
            "chain": [_LEAF],
            "key": _LEAF,
            "common_name": "example.com",
            "issued_by": "R1",
            "not_before": "2026-11-21T02:00:00Z",
            "not_after": None,
            "trusted": True,
        }
    },
    "hosts": {"attic": {"digest": "0", "changes": []}},
    "digest": "0",
}

NONE: Final[Mapping[str, bytes]] = {}
StateReader = Callable[[Store], object]


def _state(
    name: str, read: StateReader, beside: Mapping[str, bytes] = NONE
) -> Callable[[bytes], None]:
    """Return what writes a file of the state folder and reads it as the product does."""

    def harness(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as place:
            for file, content in {**beside, name: data}.items():
                path = Path(place, file)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o600)
            with only(StateError, BundleError):
                read(Store(Path(place)))

    return harness


_CA: Final = KNOWN_CAS["letsencrypt"]


def _ledger(store: Store) -> None:
    events = store.ledger.events()
    ask = Ask(ca=_CA, account="a", names=("example.com",), certificate="home")
    failed = failures(events, _CA, "home", NOW)
    last_failure(events, _CA, "home", NOW)
    next_try(failed, NOW)
    left(events, ask, NOW)
    found = refusal(events, ask, NOW)
    require_harmless(found.reason if found else "")
    pruned(events, NOW)
    event = Event(at=NOW, kind="ordered", ca=_CA, account="a", names=("example.com",))
    store.ledger.note(event)
    assert event in store.ledger.events()


def _orders(store: Store) -> None:
    order = store.orders.load("home", _CA)
    store.orders.all("home")
    store.orders.urls(besides="other")
    if order is not None:
        store.orders.save("home", order)
        store.orders.keep_only("home", [])


def _challenges(store: Store) -> None:
    store.orders.note_challenges("home", store.orders.challenges("home"))


def _trust(store: Store) -> None:
    leaves = store.trust.leaves()
    pinned, key = store.trust.pinned("attic"), store.trust.host_key("attic")
    if pinned is not None:
        assert pinned.leaf in leaves
        assert {type(pinned.leaf), type(pinned.by)} == {str}
        store.trust.pin("attic", pinned)
    if key is not None:
        store.trust.pin_host_key("attic", key)


def _holds(store: Store) -> None:
    store.holds.leaves()
    hold = store.holds.of("attic")
    store.holds.put("attic", None)
    store.holds.put("attic", hold)


def _snapshot(store: Store) -> None:
    snapshot = store.snapshots.last("attic")
    store.snapshots.leaves()
    if snapshot is not None:
        assert isinstance(snapshot.host, str)
        for address in snapshot.creates:
            require_harmless(str(address))


def _window(store: Store) -> None:
    info = store.windows.find("home", _LEAF)
    if info is not None:
        assert info.explanation_url is None or isinstance(info.explanation_url, str)
        store.windows.note("home", _LEAF, info)


def _account(store: Store) -> None:
    account = store.accounts.load(_CA, None)
    if account is not None:
        assert account.url is None or isinstance(account.url, str)


def _account_file(name: str) -> str:
    return str(Store(Path()).accounts._place(_CA, None) / name)


def _refusals(store: Store) -> None:
    store.refusals.find("attic", "certs", Secret("secret"), NOW)
    store.refusals.forget("attic")


def _devices(store: Store) -> None:
    token = store.devices.find("attic", "certs")
    if token is not None:
        store.devices.keep("attic", "certs", token)


def _secrets(store: Store) -> None:
    found = {name: store.secrets.get(name) for name in store.secrets.names}
    assert store.secrets.in_keyring is not None
    for name, secret in found.items():
        if secret is not None:
            store.secrets.put(name, secret)


def _bundles(store: Store) -> None:
    store.bundles.certificates("home")
    store.bundles.revoked_leaves()
    store.bundles.current("home")


_WHEN: Final = f"{NOW - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
_PIN: Final = f'tls_leaf = "{_LEAF}"\nnot_after = "{_WHEN}"\nsince = "{_WHEN}"\nby = "trust"\n'
_EVENT: Final[dict[str, Any]] = {
    "ca": _CA,
    "account": "a",
    "certificate": "home",
    "names": ["example.com"],
    "renewal": False,
    "is_cas_own": False,
}
_ORDER_FILE: Final = str(Store(Path()).orders._place("home", _CA))
_VERSION: Final = "20261121T020000Z-0123456789ab"
_HOME: Final = f"certificates/home/{_VERSION}"


def _key_pem() -> bytes:
    return self_signed(["example.com"]).private_key_pem


def _version_files() -> Mapping[str, bytes]:
    issued = self_signed(["example.com"])
    return {
        "certificates/home/current": _VERSION.encode(),
        f"{_HOME}/origin.json": b'{"ca": ""}',
        f"{_HOME}/cert.pem": issued.certificate_pem,
        f"{_HOME}/fullchain.pem": issued.certificate_pem,
        f"{_HOME}/privkey.pem": issued.private_key_pem,
    }


_VERSION_FILES: Final = _version_files()


def _json(value: object) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (json.dumps(value).encode(),)


def _toml(text: str) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (f"version = 0\n{text}".encode(),)


_SNAPSHOT: Final = {
    "version": 0,
    "host": "attic",
    "taken": _WHEN,
    "creates": [["certificate", "home", ""]],
    "before": [
        {
            "address": ["certificate", "home", "abc"],
            "facts": {"leaf": _LEAF, "chain": {"unreadable": True}, "names": ["example.com"]},
        },
        {
            "address": ["service", "FTPS", "smbftpd/ftpd"],
            "facts": {"certificate": {"address": ["certificate", "home", "abc"]}},
        },
    ],
}

TARGETS: Final[Mapping[str, Target]] = {
    "printable": Target(harness=_printable, samples=lambda: _TEXTS),
    "report": Target(harness=_report, samples=lambda: _TEXTS),
    "inventory": Target(harness=_inventory, samples=_inventories, form="toml"),
    "saved-plan": Target(harness=_saved_plan, samples=_json(_SAVED), form="json"),
    "state-ledger": Target(
        harness=_state("ledger.json", _ledger),
        samples=_json(
            {
                "version": 0,
                "events": [
                    {**_EVENT, "kind": "issued", "at": _WHEN},
                    {**_EVENT, "kind": "rate-limited", "at": _WHEN, "until": _WHEN},
                    {**_EVENT, "kind": "failed", "at": _WHEN, "identifiers": ["example.com"]},
                ],
            }
        ),
        form="json",
    ),
    "state-order": Target(
        harness=_state(_ORDER_FILE, _orders),
        samples=_json(
            {
                "version": 0,
                "directory": _CA,
                "names": ["example.com"],
                "key_type": "ec256",
                "private_key": "key",
                "request": "request",
                "profile": None,
                "asked": True,
                "url": "https://ca.example/order/1",
            }
        ),
        form="json",
    ),
    "state-challenges": Target(
        harness=_state("orders/home/challenges.json", _challenges),
        samples=_json({"version": 0, "challenges": {"_acme-challenge.example.com": ["value"]}}),
        form="json",
    ),
    "state-trust": Target(
        harness=_state("trust.toml", _trust),
        samples=_toml(
            f"[hosts.attic]\n{_PIN}[hosts.attic.trust]\n{_PIN}[hosts.attic.ssh]\n"
            f'type = "ssh-ed25519"\nfingerprint = "SHA256:abc"\nsince = "{_WHEN}"\n'
        ),
        form="toml",
    ),
    "state-holds": Target(
        harness=_state("holds.toml", _holds),
        samples=_toml(
            f'[hosts.attic]\nleaves = ["{_LEAF}"]\nrolled_back = 1\nby = "run"\n'
            f'since = "{_WHEN}"\nreason = "words"\n'
        ),
        form="toml",
    ),
    "state-refusals": Target(
        harness=_state("refusals.toml", _refusals),
        samples=_toml(
            f'[hosts.attic]\nuser = "certs"\nsalt = "00ff"\nhash = "ab"\ncode = 400\nwhen = "{_WHEN}"\n'
        ),
        form="toml",
    ),
    "state-devices": Target(
        harness=_state("devices.toml", _devices),
        samples=_toml('[hosts.attic.certs]\nname = "distribute"\nid = "device"\n'),
        form="toml",
    ),
    "state-secrets": Target(
        harness=_state("secrets.toml", _secrets),
        samples=_toml('in_keyring = ["other"]\n[secrets]\nnas = "secret"\n'),
        form="toml",
    ),
    "state-snapshot": Target(
        harness=_state("snapshots/attic/20261121T020000.000000Z/snapshot.json", _snapshot),
        samples=_json(_SNAPSHOT),
        form="json",
    ),
    "state-window": Target(
        harness=_state("certificates/home/window.json", _window),
        samples=_json(
            {
                "version": 0,
                "leaf": _LEAF,
                "start": _WHEN,
                "end": _WHEN,
                "explanation_url": "https://ca.example/why",
                "ask_again": _WHEN,
            }
        ),
        form="json",
    ),
    "state-account": Target(
        harness=_state(_account_file("key.pem"), _account),
        samples=lambda: (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",),
        form="pem",
    ),
    "state-account-url": Target(
        harness=_state(
            _account_file("account.json"), _account, {_account_file("key.pem"): _key_pem()}
        ),
        samples=_json({"version": 0, "url": "https://ca.example/account/1"}),
        form="json",
    ),
    "state-current": Target(
        harness=_state("certificates/home/current", _bundles),
        samples=lambda: (f"{_VERSION}\n".encode(),),
    ),
    "state-revoked": Target(
        harness=_state(f"{_HOME}/revoked.json", _bundles, _VERSION_FILES),
        samples=_json({"version": 0, "when": _WHEN, "reason": "superseded"}),
        form="json",
    ),
    "state-origin": Target(
        harness=_state(f"{_HOME}/origin.json", _bundles, _VERSION_FILES),
        samples=_json({"version": 0, "ca": _CA, "profile": None, "order": None}),
        form="json",
    ),
}
