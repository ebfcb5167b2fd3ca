"""A snapshot survives the way to disk and back, and anything else there is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import assemble
from distributor.model.endpoints import Shown
from distributor.model.errors import StateError
from distributor.model.snapshot import Snapshot, snapshot_as_json, snapshot_from_json
from distributor.model.state import UNREADABLE, Address, FactValue, State
from tests.certs import NOW, hierarchy

words = st.text(st.characters(codec=None), max_size=6)
addresses = st.builds(
    Address,
    st.sampled_from(["certificate", "service", "default certificate", "file"]),
    words,
    words,
)
values: st.SearchStrategy[FactValue] = st.one_of(
    words, st.booleans(), st.lists(words, max_size=3).map(tuple), addresses, st.just(UNREADABLE)
)
states = st.dictionaries(addresses, st.dictionaries(words, values, max_size=4), max_size=5).map(
    State
)
snapshots = st.builds(
    Snapshot,
    host=words,
    taken=st.just(NOW),
    before=states,
    creates=st.lists(addresses, max_size=3).map(tuple),
    after=states,
    shown=st.lists(
        st.builds(
            Shown,
            address=words,
            server_name=st.none() | words,
            starttls=st.none() | words,
            leaf=words,
            chain=st.lists(words, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    undoing=st.booleans(),
)


@given(snapshots)
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    written = json.dumps(snapshot_as_json(snapshot))
    assert snapshot_from_json(json.loads(written), {}) == snapshot


def test_the_pairs_are_neither_written_nor_shown() -> None:
    issued = hierarchy(1).issue(("example.com",))
    bundle = assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)
    home = Address("certificate", "home", "id-home")
    snapshot = Snapshot(host="attic", taken=NOW, before=State({}), pairs={home: bundle})
    written = snapshot_as_json(snapshot)
    assert "PRIVATE KEY" not in f"{snapshot!r}{written}"
    assert "pairs" not in written
    assert snapshot_from_json(written, snapshot.pairs) == snapshot


GOOD = snapshot_as_json(
    Snapshot(
        host="attic",
        taken=NOW,
        before=State({Address("file", "/x"): {"mode": "600"}}),
        creates=(Address("certificate", "home"),),
    )
)
LATER = ("after", "shown", "copied", "copy", "undoing")
"""What snapshots of earlier days do not have."""


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "",
        {},
        {"version": 0},
        *(
            {name: value for name, value in GOOD.items() if name != gone}
            for gone in GOOD
            if gone not in LATER
        ),
        GOOD | {"taken": "yesterday"},
        GOOD | {"before": [{"address": ["moon", "", ""], "facts": {}}]},
        GOOD | {"before": [{"address": ["file"], "facts": {}}]},
        GOOD | {"before": [{"address": ["file", "/x", ""], "facts": []}]},
        GOOD | {"before": [{"address": ["file", "/x", ""], "facts": {"mode": 600}}]},
        GOOD | {"creates": [None]},
        GOOD | {"after": [None]},
        GOOD | {"shown": [{}]},
    ],
)
def test_what_is_no_snapshot_is_refused(data: Any) -> None:
    with pytest.raises(StateError, match="a snapshot cannot be read"):
        snapshot_from_json(data, {})


def test_a_snapshot_of_earlier_days_says_nothing_of_what_came_after() -> None:
    old = {name: value for name, value in GOOD.items() if name not in LATER}
    read = snapshot_from_json(old, {})
    assert (read.after, read.shown, read.undoing) == (State({}), (), False)
    assert read == snapshot_from_json(GOOD, {})


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(StateError, match="version 1 cannot be read"):
        snapshot_from_json(GOOD | {"version": 1}, {})
