"""The laws of `dns_providers.contract` as tests. A provider runs them by giving a rig."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pytest

from distributor.dns_providers.contract import DnsProvider, Receipt
from distributor.model.errors import DnsRefused
from tests.contract.watch import Watch, watched

NAME = "_acme-challenge.example.test"
DEEPER = "_acme-challenge.sub.example.test"
OUTSIDE = "_acme-challenge.example.org"
"""No zone of the rig holds it."""
CLOSED = "_acme-challenge.closed.test"
"""In a zone of the rig that our key may not change; None of the laws needs another one."""
FIRST, SECOND = "a" * 43, "b" * 43
STRANGER = "somebody else's value"


class ProviderRig(ABC):
    """A nameserver, and providers that publish there."""

    secret: str

    @abstractmethod
    def provider(self) -> DnsProvider:
        """One that may do it; nothing is carried over from an earlier one."""

    @abstractmethod
    def provider_with_unknown_key(self) -> DnsProvider:
        """One whose key the server does not know."""

    @abstractmethod
    def provider_with_wrong_secret(self) -> DnsProvider:
        """One whose key the server knows with another secret."""

    @abstractmethod
    def provider_of_a_dead_server(self) -> DnsProvider:
        """One whose server does not run."""

    @abstractmethod
    def values(self, name: str) -> set[str]:
        """What a query gives."""

    @abstractmethod
    def put(self, name: str, value: str) -> None:
        """Add a TXT value as somebody else."""

    @abstractmethod
    def clear(self) -> None:
        """Remove what is left."""

    @abstractmethod
    def spread(self) -> None:
        """Have every nameserver behind the provider serve what it was given."""


class DnsProviderLaws(ABC):
    """Each provider's class of tests."""

    covers: ClassVar[str]
    """Its name in `wiring.DNS_PROVIDERS`."""

    @pytest.fixture
    def rig(self, servers: Any) -> Iterator[ProviderRig]:
        with self.make_rig(servers) as rig:
            rig.clear()
            yield rig
            rig.clear()

    @abstractmethod
    def make_rig(self, servers: Any) -> AbstractContextManager[ProviderRig]:
        """Give a rig on the module's servers."""

    @pytest.fixture(autouse=True)
    def watch(self, rig: ProviderRig) -> Iterator[Watch]:
        with watched() as watch:
            yield watch
            watch.require_silence([rig.secret])

    def test_the_whole_set_of_a_name_is_published_at_once(self, rig: ProviderRig) -> None:
        rig.provider().present(Receipt(NAME, (FIRST, SECOND)))
        assert rig.values(NAME) == {FIRST, SECOND}

    def test_presenting_twice_is_as_once(self, rig: ProviderRig) -> None:
        for _ in range(2):
            rig.provider().present(Receipt(NAME, (FIRST, SECOND)))
        assert rig.values(NAME) == {FIRST, SECOND}

    def test_strangers_values_survive(self, rig: ProviderRig) -> None:
        rig.put(NAME, STRANGER)
        provider, receipt = rig.provider(), Receipt(NAME, (FIRST, SECOND))
        provider.present(receipt)
        assert rig.values(NAME) == {FIRST, SECOND, STRANGER}
        provider.cleanup(receipt)
        assert rig.values(NAME) == {STRANGER}

    def test_another_order_of_ours_survives(self, rig: ProviderRig) -> None:
        provider = rig.provider()
        provider.present(Receipt(NAME, (FIRST,)))
        provider.present(Receipt(NAME, (SECOND,)))
        provider.cleanup(Receipt(NAME, (FIRST,)))
        assert rig.values(NAME) == {SECOND}

    def test_cleaning_up_twice_is_quiet(self, rig: ProviderRig) -> None:
        provider, receipt = rig.provider(), Receipt(NAME, (FIRST, SECOND))
        provider.present(receipt)
        provider.cleanup(receipt)
        provider.cleanup(receipt)
        assert rig.values(NAME) == set()

    def test_cleaning_up_what_was_never_there_is_quiet(self, rig: ProviderRig) -> None:
        rig.provider().cleanup(Receipt(NAME, (FIRST,)))
        assert rig.values(NAME) == set()

    def test_another_process_can_clean_up(self, rig: ProviderRig) -> None:
        rig.provider().present(Receipt(NAME, (FIRST, SECOND)))
        rig.provider().cleanup(Receipt(NAME, (FIRST, SECOND)))
        assert rig.values(NAME) == set()

    def test_two_names_do_not_touch_each_other(self, rig: ProviderRig) -> None:
        provider = rig.provider()
        provider.present(Receipt(NAME, (FIRST,)))
        provider.present(Receipt(DEEPER, (SECOND,)))
        assert (rig.values(NAME), rig.values(DEEPER)) == ({FIRST}, {SECOND})
        provider.cleanup(Receipt(NAME, (FIRST,)))
        assert (rig.values(NAME), rig.values(DEEPER)) == (set(), {SECOND})

    def test_a_signal_says_when_the_values_are_everywhere_or_there_is_none(
        self, rig: ProviderRig
    ) -> None:
        provider, receipt = rig.provider(), Receipt(NAME, (FIRST, SECOND))
        provider.present(receipt)
        has_signal = provider.is_ready(receipt) is not None
        rig.spread()
        for _ in range(2):
            assert provider.is_ready(receipt) is (True if has_signal else None)
        assert rig.values(NAME) == {FIRST, SECOND}

    def test_a_signal_is_not_given_for_what_does_not_stand(self, rig: ProviderRig) -> None:
        provider, receipt = rig.provider(), Receipt(NAME, (FIRST, SECOND))
        assert provider.is_ready(receipt) is not True
        assert rig.values(NAME) == set()
        provider.present(Receipt(NAME, (FIRST,)))
        rig.spread()
        assert provider.is_ready(receipt) is not True
        provider.present(receipt)
        rig.spread()
        provider.cleanup(receipt)
        rig.spread()
        assert provider.is_ready(receipt) is not True

    def test_a_dead_server_gives_no_signal(self, rig: ProviderRig, watch: Watch) -> None:
        def asked() -> bool | DnsRefused | None:
            try:
                return rig.provider_of_a_dead_server().is_ready(Receipt(NAME, (FIRST,)))
            except DnsRefused as error:
                return error

        word = asked()
        watch.hear(word)
        assert word is None or (isinstance(word, DnsRefused) and word.hint)

    def test_an_unknown_key_is_refused(self, rig: ProviderRig, watch: Watch) -> None:
        error = _refused(rig.provider_with_unknown_key(), NAME, watch)
        assert "key" in str(error.hint)
        assert rig.values(NAME) == set()

    def test_a_wrong_secret_is_refused(self, rig: ProviderRig, watch: Watch) -> None:
        error = _refused(rig.provider_with_wrong_secret(), NAME, watch)
        assert "key" in str(error.hint)
        assert rig.values(NAME) == set()

    @pytest.mark.parametrize("name", [OUTSIDE, CLOSED, "example.test"])
    def test_a_name_that_may_not_be_changed_is_refused(
        self, rig: ProviderRig, watch: Watch, name: str
    ) -> None:
        error = _refused(rig.provider(), name, watch)
        assert name in error.message

    def test_a_dead_server_is_told_within_seconds(self, rig: ProviderRig, watch: Watch) -> None:
        began = time.monotonic()
        error = _refused(rig.provider_of_a_dead_server(), NAME, watch)
        assert time.monotonic() - began < 5
        assert "running" in str(error.hint)

    def test_nothing_shows_the_secret(self, rig: ProviderRig, watch: Watch) -> None:
        provider = rig.provider()
        watch.hear(provider, vars(provider))
        provider.present(Receipt(NAME, (FIRST,)))
        provider.is_ready(Receipt(NAME, (FIRST,)))
        provider.cleanup(Receipt(NAME, (FIRST,)))


def _refused(provider: DnsProvider, name: str, watch: Watch) -> DnsRefused:
    """Neither works, both with the same kind of error; return the first."""
    receipt = Receipt(name, (FIRST,))
    caught = []
    for work in (provider.present, provider.cleanup):
        with pytest.raises(DnsRefused) as refusal:
            work(receipt)
        watch.hear(refusal.value)
        assert refusal.value.hint
        caught.append(refusal.value)
    return caught[0]
