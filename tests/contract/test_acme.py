"""The ACME source keeps the laws against Pebble, and takes up what a cut run left behind.

Pebble asks the lab's nameserver, which takes the dynamic updates. A kill is an exception out of
whatever the source waits for: from there on only what is on the disk counts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from distributor.model.errors import (
    AuthorizationFailed,
    CaUnreachable,
    DnsRefused,
    Interrupted,
    PropagationTimeout,
    SecretError,
)
from distributor.model.secret import Secret
from distributor.store import Account, Store
from tests.contract.acme_rig import (
    CHALLENGE,
    AcmeRig,
    FailingProvider,
    KilledAfterFinish,
    KilledAfterOrdering,
    KilledAfterValidation,
    KilledBeforeFinish,
    SeesJournal,
    Servers,
    SpiedAuthority,
    acme_rig,
    acme_servers,
    dead_url,
    forget_challenges,
    hush,
    killed,
    noted,
)
from tests.contract.source_laws import NAMES, SourceLaws, SourceRig


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with acme_servers(tmp_path_factory) as servers:
        yield servers


class TestAcme(SourceLaws):
    covers = "acme"

    @contextmanager
    def make_rig(self, servers: Servers, folder: Path) -> Iterator[SourceRig]:
        with acme_rig(servers, folder) as rig:
            yield rig

    def test_key_and_request_are_on_disk_before_the_ca_is_asked(self, rig: AcmeRig) -> None:
        url = dead_url()
        account = Account(key_pem=_account_key(rig), url=f"{url}/account/1")
        rig.store.accounts.save(url, "admin@example.test", account)
        with pytest.raises(CaUnreachable):
            rig.at(url).renew(hush)
        (first,) = Store(rig.store.folder).orders.all("wild")
        assert (first.names, first.key_type, first.url) == (NAMES, "ec256", None)
        assert first.is_asked
        with pytest.raises(CaUnreachable):
            rig.at(url).renew(hush)
        assert rig.store.orders.all("wild") == (first,)

    def test_the_account_key_is_on_disk_before_it_is_registered(self, rig: AcmeRig) -> None:
        url = dead_url()
        with pytest.raises(CaUnreachable):
            rig.at(url).renew(hush)
        first = Store(rig.store.folder).accounts.load(url, "admin@example.test")
        assert first is not None
        assert first.url is None
        with pytest.raises(CaUnreachable):
            rig.at(url).renew(hush)
        assert rig.store.accounts.load(url, "admin@example.test") == first

    def test_order_and_values_are_on_disk_before_anything_is_published(self, rig: AcmeRig) -> None:
        seeing = SeesJournal(rig.provider(), rig.store)
        rig.acme(provider=seeing).renew(hush)
        (values,), (url,) = seeing.noted, seeing.urls
        assert len(values[CHALLENGE]) == 2
        assert url == rig.spied.orders[0]
        assert rig.pending() is None
        assert rig.store.orders.challenges("wild") == {}

    def test_a_refusing_provider_leaves_the_order_noted(self, rig: AcmeRig) -> None:
        with pytest.raises(DnsRefused):
            rig.acme(provider=rig.provider(key_name="nobody")).renew(hush)
        pending = rig.pending()
        assert pending is not None
        assert [pending.url] == rig.spied.orders

    def test_the_same_account_serves_every_order(self, rig: AcmeRig) -> None:
        rig.source().renew(hush)
        rig.source().renew(hush)
        assert (rig.spied.registrations, len(rig.spied.orders)) == (1, 2)

    @pytest.mark.parametrize(
        "kind",
        [KilledAfterOrdering, KilledBeforeFinish, KilledAfterFinish, KilledAfterValidation],
        ids=lambda k: k.__name__,
    )
    def test_a_run_that_was_killed_at_the_ca_is_taken_up(
        self, rig: AcmeRig, kind: type[SpiedAuthority]
    ) -> None:
        with pytest.raises(Interrupted):
            rig.acme(connect=rig.connect(kind)).renew(hush)
        self._require_taken_up(rig)

    def test_a_run_that_was_killed_while_values_spread_is_taken_up(self, rig: AcmeRig) -> None:
        def kill(_seconds: float) -> None:
            raise killed()

        rig.servers.nameserver.lag = 0.3
        with pytest.raises(Interrupted):
            rig.acme(nameservers=rig.nameservers(sleep=kill)).renew(hush)
        rig.servers.nameserver.lag = 0.0
        self._require_taken_up(rig)

    def test_a_run_that_was_killed_while_publishing_is_taken_up(self, rig: AcmeRig) -> None:
        with pytest.raises(Interrupted):
            rig.acme(provider=FailingProvider(rig.provider(), "present", killed())).renew(hush)
        self._require_taken_up(rig)

    def test_values_that_could_not_be_removed_are_removed_later(self, rig: AcmeRig) -> None:
        rig.servers.nameserver.put(CHALLENGE, "TXT", '"of a stranger"')
        refusal = DnsRefused("cannot be asked", hint="later", step="dns")
        lines: list[str] = []
        ready = rig.acme(provider=FailingProvider(rig.provider(), "cleanup", refusal)).renew(
            lines.append
        )
        assert rig.source().current() == ready
        assert any("could not be removed yet" in line for line in lines)
        left = noted(rig.store)[CHALLENGE]
        assert rig.published == {*left, "of a stranger"}

        still = rig.acme(provider=FailingProvider(rig.provider(), "cleanup", refusal)).tidy()
        assert len(still) == 1
        assert CHALLENGE in still[0]

        assert rig.source().tidy() == ()
        assert rig.published == {"of a stranger"}
        assert rig.source().tidy() == ()
        forget_challenges(rig.servers.nameserver)

    def test_a_secret_that_is_gone_does_not_end_a_cleanup(self, rig: AcmeRig) -> None:
        missing = SecretError("not set", hint="set it")
        ready = rig.acme(provider=FailingProvider(rig.provider(), "cleanup", missing)).renew(hush)
        assert rig.source().current() == ready
        assert rig.source().tidy() == ()
        assert rig.published == set()

    def test_an_invalid_authorization_ends_the_order(self, rig: AcmeRig) -> None:
        with pytest.raises(AuthorizationFailed, match=r"example\.test"):
            rig.failures()["the CA does not see the values"]().renew(hush)
        assert rig.pending() is None
        rig.source().renew(hush)
        assert len(rig.spied.orders) == 2

    def test_values_that_do_not_spread_keep_the_order(self, rig: AcmeRig) -> None:
        with pytest.raises(PropagationTimeout):
            rig.failures()["the values do not spread"]().renew(hush)
        self._require_taken_up(rig)

    def test_a_ca_that_lost_the_account_gets_it_anew(self, rig: AcmeRig) -> None:
        rig.source().renew(hush)
        url = rig.servers.pebble.directory_url
        other = rig.servers.other_pebble
        known = rig.store.accounts.load(url, "admin@example.test")
        assert known is not None
        assert known.url is not None
        lost = known.url.replace(url.removesuffix("/dir"), other.directory_url.removesuffix("/dir"))
        lost = f"{lost}123"
        email = "admin@example.test"
        rig.store.accounts.save(other.directory_url, email, replace(known, url=lost))
        ready = rig.at(other.directory_url, other.ca_bundle).renew(hush)
        assert ready.held.ca == other.directory_url
        now = rig.store.accounts.load(other.directory_url, email)
        assert now is not None
        assert now.url not in {lost, None}
        assert now.key_pem == known.key_pem
        assert rig.spied.registrations == 2

    def test_an_order_that_the_ca_forgot_is_made_anew(self, rig: AcmeRig) -> None:
        with pytest.raises(Interrupted):
            rig.failures()["killed"]().renew(hush)
        pending = rig.pending()
        assert pending is not None
        rig.store.orders.save("wild", replace(pending, url=f"{pending.url}lost"))
        ready = rig.source().renew(hush)
        assert len(rig.spied.orders) == 2
        assert ready.bundle.private_key_pem == pending.private_key_pem

    def test_an_order_for_other_names_is_not_taken_up(self, rig: AcmeRig) -> None:
        with pytest.raises(Interrupted):
            rig.failures()["killed"]().renew(hush)
        wanted = replace(rig.acme().wanted, names=("example.test",))
        ready = rig.acme(wanted=wanted).renew(hush)
        assert ready.held.certificate.names == ("example.test",)
        assert len(rig.spied.orders) == 2

    def test_a_key_is_reused_only_when_that_is_wanted(self, rig: AcmeRig) -> None:
        first = rig.source().renew(hush)
        wanted = replace(rig.acme().wanted, reuse_key=True)
        again = rig.acme(wanted=wanted).renew(hush)
        other = rig.source().renew(hush)
        assert first.bundle.private_key_pem == again.bundle.private_key_pem
        assert other.bundle.private_key_pem != again.bundle.private_key_pem

    def test_a_challenge_behind_an_alias_is_published_at_its_end(self, rig: AcmeRig) -> None:
        server, seeing = rig.servers.nameserver, SeesJournal(rig.provider(), rig.store)
        server.put("_acme-challenge.alias.example.test", "CNAME", "_acme-challenge.acme.test.")
        wanted = replace(rig.acme().wanted, names=("alias.example.test",))
        ready = rig.acme(wanted=wanted, provider=seeing).renew(hush)
        assert ready.held.certificate.names == ("alias.example.test",)
        assert list(seeing.noted[0]) == ["_acme-challenge.acme.test"]
        assert server.records("_acme-challenge.acme.test", "TXT") == set()

    @staticmethod
    def _require_taken_up(rig: AcmeRig) -> None:
        """A new process ends the same order with the same key, and leaves nothing behind."""
        pending = rig.pending()
        assert pending is not None
        assert pending.is_asked
        assert pending.url in {None, *rig.spied.orders}
        assert len(rig.spied.orders) == 1
        assert rig.source().tidy() == ()
        assert rig.published == set()
        lines: list[str] = []
        ready = rig.source().renew(lines.append)
        assert any("earlier run" in line for line in lines)
        assert len(rig.spied.orders) == 1
        assert ready.bundle.private_key_pem == pending.private_key_pem
        assert rig.source().current() == ready
        assert rig.pending() is None


def _account_key(rig: AcmeRig) -> Secret:
    from distributor.model.keys import new_private_key

    return new_private_key("ec256")
