"""A value that never shows itself."""

from dataclasses import dataclass
from typing import Final, NoReturn

_MASK: Final = "<secret>"


class Secret:
    """Holds a text that leaves only through `reveal()`.

    It is no `str`, so that no string operation can unmask it; `repr`, `str` and `format` give a
    mask, and it can be neither pickled nor hashed. `reveal()` is called only where the value goes
    on the wire or into a file made to hold it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    @property
    def is_empty(self) -> bool:
        """Whether there is no text at all."""
        return not self._value

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        """Tell whether two secrets hold the same text."""
        return isinstance(other, Secret) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]  # a hash in a log would be a way to test guesses

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """What lets an account with 2FA in without a one-time code."""

    name: str
    """The name that it was given under: it is accepted under no other."""
    id: Secret
