"""States put together."""

from collections.abc import Iterable

from distributor.model.state import Address, FactValue, State


def merged(states: Iterable[State]) -> State:
    """Return one state with the facts of all; a later state wins where two speak of one fact."""
    facts: dict[Address, dict[str, FactValue]] = {}
    for state in states:
        for address, known in state.facts.items():
            facts.setdefault(address, {}).update(known)
    return State(facts)
