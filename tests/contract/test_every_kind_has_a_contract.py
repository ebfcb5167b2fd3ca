"""What `wiring` can make runs the laws of its contract, all of them, and skips none."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

from distributor import sources, wiring
from distributor.sources.contract import Source
from distributor.wiring.targets import TARGETS
from tests.contract.dns_provider_laws import DnsProviderLaws
from tests.contract.source_laws import SourceLaws
from tests.contract.target_laws import TargetLaws

HERE = Path(__file__).parent
SUITES = (TargetLaws, DnsProviderLaws, SourceLaws)


def classes_of(suite: type) -> list[type]:
    """The classes that pytest collects here and that inherit the laws of a suite."""
    modules = [
        importlib.import_module(f"tests.contract.{path.stem}") for path in HERE.glob("test_*.py")
    ]
    return [
        found
        for module in modules
        for name, found in vars(module).items()
        if name.startswith("Test") and inspect.isclass(found) and issubclass(found, suite)
    ]


def covered_by(suite: type) -> set[object]:
    return {vars(found).get("covers") for found in classes_of(suite)}


def laws(suite: type) -> dict[str, object]:
    return {name: law for name, law in vars(suite).items() if name.startswith("test_")}


@pytest.mark.parametrize("kind", TARGETS, ids="/".join)
def test_every_kind_of_host_runs_the_laws_of_targets(kind: tuple[str, str]) -> None:
    assert kind in covered_by(TargetLaws)


@pytest.mark.parametrize("provider", wiring.DNS_PROVIDERS)
def test_every_dns_provider_runs_the_laws_of_providers(provider: str) -> None:
    assert provider in covered_by(DnsProviderLaws)


SOURCES = {
    found.__module__.removeprefix("distributor.sources.")
    for module in pkgutil.iter_modules(sources.__path__)
    for found in vars(importlib.import_module(f"distributor.sources.{module.name}")).values()
    if inspect.isclass(found) and found is not Source and hasattr(found, "renew")
}
"""Modules of what has the contract's methods: others are parts of these."""


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_every_source_runs_the_laws_of_sources(source: str) -> None:
    assert source in covered_by(SourceLaws)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_no_class_leaves_a_law_out(suite: type) -> None:
    classes = classes_of(suite)
    assert classes
    for found in classes:
        assert not inspect.isabstract(found)
        assert getattr(found, "__test__", True)
        assert not getattr(found, "pytestmark", [])
        for name, law in laws(suite).items():
            assert getattr(found, name) is law, f"{found.__name__} has its own {name}"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_no_law_is_skipped_or_expected_to_fail(suite: type) -> None:
    assert laws(suite)
    for law in laws(suite).values():
        marks = {mark.name for mark in getattr(law, "pytestmark", [])}
        assert marks <= {"parametrize"}
