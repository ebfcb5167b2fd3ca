"""An endpoint serves what is wanted, link by link, or it does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate, forecast
from distributor.model.endpoints import Served, all_serve
from distributor.model.errors import Unreachable
from distributor.model.hosts import Endpoint, SocketAddress

OURS = Certificate(
    name="home",
    leaf="sha256:leaf",
    names=("example.com",),
    key_type="rsa2048",
    chain=("sha256:one", "sha256:two"),
)
DSM = Endpoint(address=SocketAddress("192.0.2.1", 5001), certificate="home")
OTHER = Endpoint(address=SocketAddress("192.0.2.1", 443), certificate="work")


def test_the_same_leaf_with_the_same_chain_is_what_is_wanted() -> None:
    assert Served(endpoint=DSM, certificate=OURS).serves(OURS)
    # Name and trust are ours to say, no property of what is served.
    assert Served(endpoint=DSM, certificate=replace(OURS, name="x", trusted=True)).serves(OURS)


@pytest.mark.parametrize(
    "shown",
    [
        replace(OURS, leaf="sha256:other"),
        replace(OURS, chain=()),
        replace(OURS, chain=("sha256:one",)),
        replace(OURS, chain=("sha256:two", "sha256:one")),
        replace(OURS, chain=("sha256:one", "sha256:two", "sha256:root")),
        forecast("home", OURS.names, "rsa2048", "https://ca.example/"),
    ],
)
def test_another_leaf_or_chain_is_not(shown: Certificate) -> None:
    assert not Served(endpoint=DSM, certificate=shown).serves(OURS)


def test_an_endpoint_that_showed_nothing_serves_nothing() -> None:
    assert not Served(endpoint=DSM, error=Unreachable("no answer")).serves(OURS)
    assert not Served(endpoint=DSM).serves(OURS)


right, wrong = Served(endpoint=DSM, certificate=OURS), Served(endpoint=DSM)
foreign = Served(endpoint=OTHER)


@given(st.lists(st.sampled_from([right, wrong, foreign])))
def test_one_endpoint_that_does_not_serve_is_enough(served: list[Served]) -> None:
    assert all_serve(served, {"home": OURS}) == (wrong not in served)


def test_each_endpoint_is_held_against_its_own_certificate() -> None:
    work = replace(OURS, name="work", leaf="sha256:work")
    served = [right, Served(endpoint=OTHER, certificate=work)]
    assert all_serve(served, {"home": OURS, "work": work})
    assert not all_serve(served, {"home": work, "work": OURS})
