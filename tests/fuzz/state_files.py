"""Files of the state folder that somebody, or a disk, has damaged."""

import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from distributor.model.backoff import next_try
from distributor.model.budget import Ask, Event, failures, last_failure, left, pruned, refusal
from distributor.model.errors import BundleError, StateError
from distributor.model.hosts import KNOWN_CAS
from distributor.model.secret import Secret
from distributor.model.state import Address
from distributor.store import Store, snapshots
from tests.certs import NOW, self_signed
from tests.fuzz.judging import MEMORY, Target, only, require_harmless

_LEAF: Final = "sha256:" + "0" * 64
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

_TAKEN: Final = "snapshots/attic/20261121T020000.000000Z"
_PAIR: Final = snapshots._mark(Address("certificate", "home", "abc"))

TARGETS: Final[Mapping[str, Target]] = {
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
        samples=_json(
            {
                "version": 0,
                "challenges": [
                    {
                        "dns": "home",
                        "provider": "rfc2136",
                        "place": "ns.example.com:53",
                        "values": {"_acme-challenge.example.com": ["value"]},
                    }
                ],
            }
        ),
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
            '[hosts.attic]\nuser = "certs"\nsalt = "00ff"\nhash = "ab"\ncode = 400\n'
            f'when = "{_WHEN}"\n'
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
        harness=_state(f"{_TAKEN}/snapshot.json", _snapshot),
        samples=_json(_SNAPSHOT),
        form="json",
    ),
    "state-stored": Target(
        harness=_state(
            f"{_TAKEN}/{_PAIR}/stored",
            _snapshot,
            {**_VERSION_FILES, f"{_TAKEN}/snapshot.json": json.dumps(_SNAPSHOT).encode()},
        ),
        samples=lambda: (_LEAF.encode(), b"sha256:" + b"**/.." * 3, b"../" * 4 + b"["),
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
        samples=lambda: (_key_pem(),),
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
        harness=_state("certificates/home/current", _bundles, _VERSION_FILES),
        samples=lambda: (f"{_VERSION}\n".encode(),),
    ),
    "state-revoked": Target(
        harness=_state(f"{_HOME}/revoked.json", _bundles, _VERSION_FILES),
        samples=_json({"version": 0, "when": _WHEN, "reason": "superseded"}),
        form="json",
    ),
    "state-origin": Target(
        harness=_state(f"{_HOME}/origin.json", _bundles, _VERSION_FILES),
        samples=_json(
            {"version": 0, "ca": _CA, "profile": None, "order": None, "ordered": ["example.com"]}
        ),
        form="json",
    ),
}
