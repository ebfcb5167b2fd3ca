"""The ACME source between several CAs, its account, its limits and its own patience."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.clients.certificate_authority import OrderResource
from distributor.model.budget import Event
from distributor.model.bundle import fingerprint
from distributor.model.errors import (
    AuthorizationFailed,
    BackingOff,
    BudgetSpent,
    CaUnreachable,
    DnsRefused,
    Interrupted,
    NotYetValid,
    OrderFailed,
    RateLimited,
)
from distributor.model.hosts import KNOWN_CAS
from distributor.model.keys import new_private_key
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from distributor.sources.acme import Acme
from distributor.sources.acme_account import StoredAccount
from distributor.sources.acme_guard import Guard, is_cas_own
from distributor.store import Store
from tests.contract.acme_rig import (
    AcmeRig,
    KilledAfterFinish,
    KilledAfterOrdering,
    KilledAfterRegistering,
    KilledAfterRollOver,
    KilledBeforeFinish,
    Servers,
    SpiedAuthority,
    acme_rig,
    acme_servers,
    dead_url,
    hush,
)
from tests.contract.source_laws import NAMES

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with acme_servers(tmp_path_factory) as servers:
        yield servers


@pytest.fixture
def rig(servers: Servers, tmp_path: Path) -> Iterator[AcmeRig]:
    with acme_rig(servers, tmp_path / "state") as rig:
        yield rig


def with_fallback(rig: AcmeRig, first: str, **other: object) -> Acme:
    """A source whose first CA is at `first`, and which may fall back to the second Pebble."""
    second = replace(
        rig.settings(rig.servers.other_pebble.directory_url),
        ca="second",
        ca_bundle=rig.servers.other_pebble.ca_bundle,
    )
    settings = replace(rig.settings(first), ca="first", fallback=(second,))
    wanted = replace(rig.acme().wanted, source=settings)
    return rig.acme(wanted=wanted, source=settings, **other)


def test_another_ca_issues_while_the_first_is_down_and_its_certificate_stays(rig: AcmeRig) -> None:
    lines: list[str] = []
    source = with_fallback(rig, dead_url())
    ready = source.renew(lines.append)
    assert ready.held.ca == rig.servers.other_pebble.directory_url
    assert any("cannot be reached" in line for line in lines)
    assert source.due(ready.held, source.look(), datetime.now(UTC)) is None


def test_the_first_ca_is_tried_first_again(rig: AcmeRig) -> None:
    with_fallback(rig, dead_url()).renew(hush)
    ready = with_fallback(rig, rig.servers.pebble.directory_url).renew(hush)
    assert ready.held.ca == rig.servers.pebble.directory_url


def test_when_every_ca_fails_the_error_tells_of_each(rig: AcmeRig) -> None:
    second = replace(rig.settings(dead_url()), ca="second")
    settings = replace(rig.settings(dead_url()), ca="first", fallback=(second,))
    wanted = replace(rig.acme().wanted, source=settings)
    with pytest.raises(CaUnreachable, match=r"then second: "):
        rig.acme(wanted=wanted, source=settings).renew(hush)


def test_what_dns_refuses_no_other_ca_is_asked_for(rig: AcmeRig) -> None:
    first = rig.servers.pebble.directory_url
    with pytest.raises(DnsRefused):
        with_fallback(rig, first, provider=rig.provider(key_name="nobody")).renew(hush)
    unseen = rig.servers.unseen
    with pytest.raises(AuthorizationFailed):
        with_fallback(
            rig, first, provider=rig.provider(unseen), nameservers=rig.nameservers(unseen)
        ).renew(hush)
    assert all(url.startswith(first.removesuffix("/dir")) for url in rig.spied.orders)


def test_an_order_waits_at_the_first_ca_while_another_issues(rig: AcmeRig) -> None:
    first = rig.servers.pebble.directory_url
    with pytest.raises(Interrupted):
        with_fallback(rig, first, connect=rig.connect(KilledBeforeFinish)).renew(hush)
    waiting = rig.pending()
    assert waiting is not None
    assert rig.source().tidy() == ()
    assert rig.pending() == waiting


def test_an_order_of_the_first_ca_ends_once_another_ca_has_issued(rig: AcmeRig) -> None:
    first = rig.servers.pebble.directory_url
    with pytest.raises(Interrupted):
        with_fallback(rig, first, connect=rig.connect(KilledAfterFinish)).renew(hush)
    assert rig.pending() is not None

    class Down(SpiedAuthority):
        def order(self, url: str, csr_pem: bytes) -> OrderResource | None:
            if url.startswith(first.removesuffix("/dir")):
                raise CaUnreachable("down", hint="later", step="order")
            return super().order(url, csr_pem)

    held = with_fallback(rig, first, connect=rig.connect(Down)).renew(hush)
    assert held.held.ca == rig.servers.other_pebble.directory_url
    assert rig.pending() is None

    newer = with_fallback(rig, first).renew(hush)
    assert newer.held.ca == first
    assert newer.bundle.leaf.not_valid_after_utc >= held.bundle.leaf.not_valid_after_utc


def test_after_an_incident_the_reserve_may_be_used(rig: AcmeRig) -> None:
    own = guard(rig, rig.acme(), ca="letsencrypt")
    ready = rig.source().renew(hush)
    past = RenewalInfo(
        start=own.now() - 2 * HOUR,
        end=own.now() - HOUR,
        explanation_url="https://ca.example/incident",
        ask_again=own.now(),
    )
    patient = replace(own, current=ready.held)
    for number in range(4):
        patient.admit_order(replaces=False)
        patient.issued(f"https://le.example/order/{number}")
    with pytest.raises(BudgetSpent, match="kept in reserve"):
        patient.admit_order(replaces=False)
    replace(patient, window=past).admit_order(replaces=False)


def test_a_key_type_that_changed_meanwhile_gets_a_new_key_in_the_same_order(rig: AcmeRig) -> None:
    with pytest.raises(Interrupted):
        rig.acme(connect=rig.connect(KilledAfterOrdering)).renew(hush)
    wanted = replace(rig.acme().wanted, key_type="ec384")
    ready = rig.acme(wanted=wanted).renew(hush)
    assert ready.held.certificate.key_type == "ec384"
    assert len(rig.spied.orders) == 1, "the order that the CA made first was taken up"


def test_an_issued_order_of_another_key_type_is_not_taken_up(rig: AcmeRig) -> None:
    with pytest.raises(Interrupted):
        rig.acme(connect=rig.connect(KilledAfterFinish)).renew(hush)
    wanted = replace(rig.acme().wanted, key_type="ec384")
    ready = rig.acme(wanted=wanted).renew(hush)
    assert ready.held.certificate.key_type == "ec384"
    assert len(rig.spied.orders) == 2


def test_an_order_of_which_the_bundle_is_stored_is_forgotten_not_taken_up(rig: AcmeRig) -> None:
    with pytest.raises(Interrupted):
        rig.acme(connect=rig.connect(KilledBeforeFinish)).renew(hush)
    pending = rig.pending()
    assert pending is not None
    first = rig.source().renew(hush)
    rig.store.orders.save("wild", pending)  # as a run leaves it that was cut after it stored
    assert rig.source().tidy() == ()
    assert rig.pending() is None
    second = rig.source().renew(hush)
    assert second.held.certificate.leaf != first.held.certificate.leaf


def test_orders_at_cas_that_are_no_longer_named_are_forgotten(rig: AcmeRig) -> None:
    with pytest.raises(Interrupted):
        rig.acme(connect=rig.connect(KilledBeforeFinish)).renew(hush)
    assert len(rig.store.orders.all("wild")) == 1
    assert rig.at(rig.servers.other_pebble.directory_url).tidy() == ()
    assert rig.store.orders.all("wild") == ()


# --- account


def account(rig: AcmeRig, kind: type = KilledAfterRollOver) -> StoredAccount:
    return rig.acme(connect=rig.connect(kind)).accounts()[0]


def test_a_registration_that_was_not_noted_is_found_again(rig: AcmeRig) -> None:
    with pytest.raises(Interrupted):
        rig.acme(connect=rig.connect(KilledAfterRegistering)).renew(hush)
    noted = rig.store.accounts.load(rig.servers.pebble.directory_url, "admin@example.test")
    assert noted is not None
    assert noted.url is None
    rig.source().renew(hush)
    assert rig.spied.registrations == 1


def test_an_account_gets_a_new_key_and_goes_on(rig: AcmeRig) -> None:
    place = rig.servers.pebble.directory_url, "admin@example.test"
    rig.source().renew(hush)
    before = rig.store.accounts.load(*place)
    rig.acme().accounts()[0].roll_over()
    after = rig.store.accounts.load(*place)
    assert before is not None
    assert after is not None
    assert (after.url, after.next_key_pem) == (before.url, None)
    assert after.key_pem != before.key_pem
    rig.source().renew(hush)
    assert rig.spied.registrations == 1


def test_a_roll_over_that_was_cut_is_settled_by_what_the_ca_knows(rig: AcmeRig) -> None:
    place = rig.servers.pebble.directory_url, "admin@example.test"
    rig.source().renew(hush)
    with pytest.raises(Interrupted):
        account(rig).roll_over()
    cut = rig.store.accounts.load(*place)
    assert cut is not None
    assert cut.next_key_pem is not None
    rig.source().renew(hush)
    settled = Store(rig.store.folder).accounts.load(*place)
    assert settled is not None
    assert (settled.key_pem, settled.next_key_pem) == (cut.next_key_pem, None)


def test_a_next_key_that_the_ca_never_saw_is_forgotten(rig: AcmeRig) -> None:
    place = rig.servers.pebble.directory_url, "admin@example.test"
    rig.source().renew(hush)
    before = rig.store.accounts.load(*place)
    assert before is not None
    rig.store.accounts.note_next(*place, new_private_key("ec256"))
    rig.source().renew(hush)
    assert rig.store.accounts.load(*place) == before


def test_no_account_no_new_key(rig: AcmeRig) -> None:
    with pytest.raises(OrderFailed, match="no account is registered"):
        rig.acme().accounts()[0].roll_over()


# --- limits and patience


def test_a_failure_is_not_repeated_at_once_unless_a_person_asks(rig: AcmeRig) -> None:
    failing = rig.acme(provider=rig.provider(key_name="nobody"))
    with pytest.raises(DnsRefused):
        failing.renew(hush)
    with pytest.raises(BackingOff, match="failed once lately") as held_back:
        failing.renew(hush)
    assert held_back.value.retry_at > failing.now()
    assert "distribute issue wild" in (held_back.value.hint or "")
    with pytest.raises(DnsRefused):
        failing.renew(hush, is_asked_for=True)
    with pytest.raises(BackingOff, match="failed 2 times lately"):
        failing.renew(hush)
    rig.source().renew(hush)


def test_while_the_first_ca_is_left_alone_after_an_outage_the_next_one_serves(
    rig: AcmeRig,
) -> None:
    source = with_fallback(rig, dead_url())
    source.renew(hush)
    again = source.renew(hush)
    assert again.held.ca == rig.servers.other_pebble.directory_url


def test_while_dns_keeps_refusing_no_other_ca_is_asked(rig: AcmeRig) -> None:
    first = rig.servers.pebble.directory_url
    failing = with_fallback(rig, first, provider=rig.provider(key_name="nobody"))
    with pytest.raises(DnsRefused):
        failing.renew(hush)
    with pytest.raises(BackingOff):
        failing.renew(hush)
    assert len(rig.spied.orders) == 1


def note(rig: AcmeRig, source: Acme, kind: str, **other: object) -> None:
    event = Event(
        at=source.now() - HOUR,
        kind=kind,  # type: ignore[arg-type]  # one of the words
        ca=source.source.directory_url,
        account="",
        names=source.wanted.names,
        certificate="wild",
    )
    rig.store.ledger.note(replace(event, **other))  # type: ignore[arg-type]  # fields by name


def test_the_last_certificate_of_a_week_is_kept_for_need(rig: AcmeRig) -> None:
    rig.source().renew(hush)
    # Let's Encrypt's limits are known by its directory URL; nobody is asked before they are looked
    # at, and the account is as if it were registered.
    url = KNOWN_CAS["letsencrypt"]
    source = rig.at(url)
    known = rig.store.accounts.load(rig.servers.pebble.directory_url, "admin@example.test")
    assert known is not None
    rig.store.accounts.save(url, "admin@example.test", replace(known, url="https://le/acct/1"))
    for _ in range(4):
        note(rig, source, "issued")
    with pytest.raises(BudgetSpent, match="kept in reserve") as spent:
        source.renew(hush)
    assert spent.value.retry_at is not None
    assert spent.value.retry_at > source.now()
    assert rig.store.orders.all("wild") == ()


def test_a_retry_after_of_an_earlier_run_is_obeyed(rig: AcmeRig) -> None:
    source = rig.acme()
    until = source.now() + 3 * HOUR
    note(rig, source, "rate-limited", until=until)
    with pytest.raises(RateLimited, match="asked us to wait") as limited:
        source.renew(hush)
    assert limited.value.retry_at is not None
    assert limited.value.retry_at >= until
    assert rig.spied.orders == []


def test_a_short_retry_after_does_not_undo_the_back_off(rig: AcmeRig) -> None:
    source = rig.acme()
    note(rig, source, "rate-limited", until=source.now() - HOUR + timedelta(seconds=5))
    soon = replace(source, now=lambda: source.now() - HOUR + timedelta(seconds=30))
    with pytest.raises(BackingOff):
        soon.renew(hush)
    assert rig.spied.orders == []


def test_a_limit_met_at_the_account_counts_for_every_certificate(rig: AcmeRig) -> None:
    source = rig.acme()
    note(rig, source, "rate-limited", until=source.now() + 24 * HOUR, names=())
    other = replace(rig.acme().wanted, name="other", names=("other.example.test",))
    with pytest.raises(RateLimited, match="asked us to wait"):
        rig.acme(wanted=other).renew(hush)


def test_failed_validations_that_are_used_up_lead_to_no_other_ca(rig: AcmeRig) -> None:
    own = guard(rig, rig.acme(), ca="letsencrypt")
    for _ in range(5):
        own.failed(AuthorizationFailed("no TXT", hint="look", step="authorization"))
    with pytest.raises(BudgetSpent, match="failed validations") as spent:
        own.admit_order(replaces=False)
    assert not is_cas_own(spent.value)
    assert not is_cas_own(CaUnreachable("not trusted", is_outage=False, hint="x", step="order"))


def test_a_window_noted_by_a_clock_that_was_ahead_does_not_silence_the_ca(rig: AcmeRig) -> None:
    rig.source().renew(hush)
    source = rig.acme()
    ahead = window(source.now().replace(microsecond=0) + 60 * 24 * HOUR)
    replace(source, ask_window=lambda _source, _leaf: ahead).look()
    said = window(source.now().replace(microsecond=0))
    assert replace(source, ask_window=lambda _source, _leaf: said).look().window == said


def test_names_that_a_ca_adds_or_leaves_to_the_wildcard_make_nothing_due(rig: AcmeRig) -> None:
    ready = rig.source().renew(hush)
    source = rig.acme()
    for names in (("example.test",), ("a.example.test", *NAMES)):
        have = replace(ready.held.certificate, names=names)
        held = replace(ready.held, certificate=have)
        assert source.due(held, source.look(), source.now()) is None


def test_a_certificate_that_is_not_valid_yet_is_kept_for_when_the_clock_is_right(
    rig: AcmeRig,
) -> None:
    behind: list[timedelta] = []

    class ClockGoesBack(SpiedAuthority):
        def finish(
            self, order: OrderResource, deadline: datetime, preferred_chain: str | None = None
        ) -> str:
            chain = super().finish(order, deadline, preferred_chain)
            behind.append(48 * HOUR)
            return chain

    source = rig.acme(
        connect=rig.connect(ClockGoesBack), now=lambda: rig.now() - sum(behind, timedelta(0))
    )
    with pytest.raises(NotYetValid):
        source.renew(hush)
    rig.source().renew(hush)
    assert len(rig.spied.orders) == 1


def lose_account(rig: AcmeRig) -> tuple[str, str]:
    place = rig.servers.pebble.directory_url, "admin@example.test"
    known = rig.store.accounts.load(*place)
    assert known is not None
    rig.store.accounts.save(*place, replace(known, url=f"{known.url}lost"))
    return place


def test_an_account_url_that_was_lost_is_found_by_its_key(rig: AcmeRig) -> None:
    ready = rig.source().renew(hush)
    place = lose_account(rig)
    rig.acme().accounts()[0].roll_over()
    known = rig.store.accounts.load(*place)
    assert known is not None
    assert known.url is not None
    assert not known.url.endswith("lost")
    lose_account(rig)
    rig.acme().revoke(ready.bundle.leaf, 4)


def test_a_refused_roll_over_leaves_the_key_as_it_was(rig: AcmeRig) -> None:
    rig.source().renew(hush)
    place = rig.servers.pebble.directory_url, "admin@example.test"
    before = rig.store.accounts.load(*place)

    class Refusing(SpiedAuthority):
        def roll_over(self, new_key: Secret) -> None:  # noqa: ARG002 - the client's
            raise OrderFailed("no keyChange", hint="x", step="account")

    with pytest.raises(OrderFailed):
        rig.acme(connect=rig.connect(Refusing)).accounts()[0].roll_over()
    assert rig.store.accounts.load(*place) == before


def test_how_each_try_ended_is_remembered(rig: AcmeRig) -> None:
    rig.source().renew(hush)
    with pytest.raises(AuthorizationFailed):
        rig.failures()["the CA does not see the values"]().renew(hush)
    with pytest.raises(CaUnreachable):
        rig.failures()["the CA is down"]().renew(hush)
    events = Store(rig.store.folder).ledger.events()
    assert [(event.kind, event.is_cas_own) for event in events] == [
        ("issued", False),
        ("refused-authorization", False),
        ("failed", True),
    ]
    assert all(event.names == NAMES for event in events)


def guard(rig: AcmeRig, source: Acme, *, ca: str) -> Guard:
    return Guard(
        wanted=source.wanted,
        ca=replace(source.source, directory_url=KNOWN_CAS[ca]),
        ledger=rig.store.ledger,
        current=None,
        window=None,
        account=lambda: "https://le.example/acct/1",
        is_asked_for=False,
        now=source.now,
    )


def test_no_limit_counts_for_an_order_inside_the_cas_window(rig: AcmeRig) -> None:
    own = guard(rig, rig.acme(), ca="letsencrypt")
    for number in range(5):
        own.admit_order(replaces=False)
        own.issued(f"https://le.example/order/{number}")
        own.issued(f"https://le.example/order/{number}")  # taken up again: counted once
    with pytest.raises(BudgetSpent, match="exactly these names"):
        own.admit_order(replaces=False)
    own.admit_order(replaces=True)


# --- the CA's window


def window(at: datetime, *, hours: float = 6) -> RenewalInfo:
    return RenewalInfo(
        start=at, end=at + 20 * HOUR, explanation_url=None, ask_again=at + hours * HOUR
    )


def test_the_ca_is_asked_for_its_window_no_more_often_than_it_wants(rig: AcmeRig) -> None:
    ready = rig.source().renew(hush)
    asked: list[str] = []
    source = rig.acme()
    info = window(source.now().replace(microsecond=0))

    def ask(_source: object, leaf: object) -> RenewalInfo:
        asked.append(fingerprint(leaf))  # type: ignore[arg-type]  # a certificate
        return info

    source = replace(source, ask_window=ask)
    assert source.look().window == info
    assert source.look().window == info
    assert asked == [ready.held.certificate.leaf]
    later = replace(source, now=lambda: info.ask_again)
    later.look()
    assert len(asked) == 2


def test_a_ca_that_does_not_answer_leaves_what_it_said_last(rig: AcmeRig) -> None:
    rig.source().renew(hush)
    source = rig.acme()
    info = window(source.now().replace(microsecond=0), hours=0)

    def fail(_source: object, _leaf: object) -> RenewalInfo:
        raise CaUnreachable("down", hint="later", step="look")

    replace(source, ask_window=lambda _source, _leaf: info).look()
    hints = replace(source, ask_window=fail).look()
    assert (hints.window, hints.error) == (info, "down")


def test_inside_the_window_the_renewal_names_its_predecessor(rig: AcmeRig) -> None:
    first = rig.source().renew(hush)
    month = 30 * 24 * HOUR
    source = rig.acme(now=lambda: rig.now() + month)
    info = window(source.now().replace(microsecond=0) - HOUR)
    source = replace(source, ask_window=lambda _source, _leaf: info)
    hints = source.look()
    renewal = source.due(first.held, hints, source.now())
    assert renewal is not None
    assert renewal.reason.startswith("ARI window")
    source.renew(hush)
    assert rig.spied.replaced == [None, first.bundle.leaf]


def test_a_revoked_leaf_is_due_and_the_ca_knows_of_it(rig: AcmeRig) -> None:
    ready = rig.source().renew(hush)
    rig.acme().revoke(ready.bundle.leaf, 4)
    rig.acme().revoke(ready.bundle.leaf, 4)
    with pytest.raises(OrderFailed, match="does not name"):
        rig.at(dead_url()).revoke(ready.bundle.leaf, 4)
