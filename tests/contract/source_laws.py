"""The laws of `sources.contract` as tests. A source runs them by giving a rig."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from distributor.model.errors import DistributorError
from distributor.model.renewal import Hints
from distributor.sources.contract import Source
from distributor.store import Store
from tests.contract.watch import Watch, require_private, watched

NAMES = ("example.test", "*.example.test")


class SourceRig(ABC):
    """A certificate's source, and the ways in which it can fail."""

    name: str
    store: Store
    forecast_names: tuple[str, ...] = NAMES
    """Names that can be told before anything was looked at."""

    @abstractmethod
    def source(self) -> Source:
        """One that works; nothing is carried over from an earlier one."""

    @abstractmethod
    def failures(self) -> dict[str, Callable[[], Source]]:
        """Sources that cannot obtain anything, by the reason."""

    @abstractmethod
    def outside(self) -> object:
        """What a source could change outside of the store."""

    def hints_when_due(self) -> Hints:
        """What a look tells when the certificate in the store is near its end."""
        return Hints()

    def let_renew(self) -> None:  # noqa: B027 - most sources renew by themselves
        """Let whoever else renews it do so, where that is not the source itself."""

    def held(self) -> dict[str, bytes]:
        """The bundles of the store, file by file."""
        return tree(self.store.folder / "certificates")


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class SourceLaws(ABC):
    """Each source's class of tests."""

    covers: ClassVar[str]
    """The name of its module in `distributor.sources`."""

    @abstractmethod
    def make_rig(self, servers: Any, folder: Path) -> AbstractContextManager[SourceRig]:
        """Give a rig with a store of its own."""

    @pytest.fixture
    def rig(self, servers: Any, tmp_path: Path) -> Iterator[SourceRig]:
        with self.make_rig(servers, tmp_path / "state") as rig:
            yield rig

    @pytest.fixture(autouse=True)
    def watch(self, rig: SourceRig) -> Iterator[Watch]:
        with watched() as watch:
            yield watch
            watch.require_silence(private_lines(rig.store.folder))
            require_private(rig.store.folder)

    def test_looking_changes_nothing(self, rig: SourceRig) -> None:
        before = tree(rig.store.folder), rig.outside()
        assert isinstance(rig.source().look(), Hints)
        assert rig.source().current() is None
        assert (tree(rig.store.folder), rig.outside()) == before

    def test_looking_never_raises(self, rig: SourceRig) -> None:
        for make in rig.failures().values():
            assert isinstance(make().look(), Hints)

    def test_due_and_forecast_are_pure(self, rig: SourceRig) -> None:
        ready = rig.source().renew(_hush)
        before = tree(rig.store.folder), rig.outside()
        dead = [make() for make in rig.failures().values()]
        end = ready.held.certificate.not_after
        assert end is not None
        for source in (rig.source(), *dead):
            forecast = source.forecast()
            assert forecast.is_forecast
            assert set(forecast.names) == set(rig.forecast_names)
            renewal = source.due(None, Hints(), end)
            assert renewal is not None
            assert (renewal.reason, renewal.forecast) == ("none yet", forecast)
        source = rig.source()
        assert source.due(ready.held, Hints(), end - timedelta(days=80)) is None
        assert source.due(ready.held, rig.hints_when_due(), end - timedelta(days=1)) is not None
        assert (tree(rig.store.folder), rig.outside()) == before

    def test_a_renewal_is_a_proved_bundle_that_is_in_the_store(
        self, rig: SourceRig, watch: Watch
    ) -> None:
        lines: list[str] = []
        ready = rig.source().renew(lines.append)
        watch.hear(ready, *lines)
        assert set(NAMES) <= set(ready.held.certificate.names)
        ready.bundle.require(NAMES, ready.bundle.leaf.not_valid_before_utc)
        assert ready.bundle.chain
        assert rig.source().current() == ready
        assert lines

    def test_a_second_renewal_is_a_second_version(self, rig: SourceRig) -> None:
        first = rig.source().renew(_hush)
        rig.let_renew()
        second = rig.source().renew(_hush)
        assert second.held.certificate.leaf != first.held.certificate.leaf
        assert rig.store.bundles.by_leaf(first.held.certificate.leaf) == first.bundle
        assert rig.source().current() == second

    def test_a_failure_leaves_the_store_as_it_was(self, rig: SourceRig, watch: Watch) -> None:
        ready = rig.source().renew(_hush)
        held, outside = rig.held(), rig.outside()
        failures = rig.failures()
        assert failures
        for reason, make in failures.items():
            with pytest.raises(DistributorError) as caught:
                make().renew(_hush)
            watch.hear(caught.value)
            assert caught.value.hint, reason
            assert rig.held() == held, reason
            assert rig.source().current() == ready, reason
            assert rig.source().tidy() == (), reason
            assert rig.outside() == outside, reason

    def test_after_any_failure_the_next_run_succeeds(self, rig: SourceRig) -> None:
        for make in rig.failures().values():
            with pytest.raises(DistributorError):
                make().renew(_hush)
            source = rig.source()
            assert source.tidy() == ()
            assert source.renew(_hush) == rig.source().current()

    def test_tidy_is_quiet_when_nothing_is_left(self, rig: SourceRig) -> None:
        before = tree(rig.store.folder), rig.outside()
        assert rig.source().tidy() == ()
        assert (tree(rig.store.folder), rig.outside()) == before


def _hush(_line: str) -> None:
    """Take a line of progress, for nobody."""


def private_lines(folder: Path) -> set[str]:
    """The lines of every private key of a state folder that give something away."""
    texts = [path.read_text() for path in folder.rglob("*.pem") if path.name != "fullchain.pem"]
    texts += [
        json.loads(path.read_text()).get("private_key", "") for path in folder.rglob("*.json")
    ]
    return {
        line
        for text in texts
        if "PRIVATE KEY" in text
        for line in text.splitlines()
        if "-----" not in line and len(line) > 20
    }
