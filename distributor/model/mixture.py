"""Facts that several files tell together, while some of these are replaced and others not yet."""

from distributor.model.state import CHAIN, KEY, LEAF, RELOAD_OWED, Facts, FactValue


def is_mixed(now: Facts, before: Facts, after: Facts) -> bool:
    """Tell whether leaf, chain and key are of `before`, of `after`, or of both at once."""
    return all(
        _is_of(now.get(fact), before.get(fact), after.get(fact)) for fact in (LEAF, CHAIN, KEY)
    )


def _is_of(now: FactValue | None, before: FactValue | None, after: FactValue | None) -> bool:
    if now in (before, after):
        return True
    # Places that do not agree are told as all that they hold, a chain as one text.
    known = {RELOAD_OWED, *_words(before), *_words(after)}
    return isinstance(now, tuple) and bool(now) and known.issuperset(now)


def _words(value: FactValue | None) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return (*value, str(value), ", ".join(value))
    return (value,) if isinstance(value, str) else ()
