"""How much work a PKCS #12 container asks for before it opens (RFC 7292, RFC 8018, RFC 7914).

Whoever makes a container says in it, in the clear, how often a passphrase is hashed; two thousand
million times would take hours in which nothing can be interrupted. So it is looked up first.
"""

from collections.abc import Iterator
from math import prod
from typing import Final

MOST: Final = 10_000_000
"""Rounds of hashing in all: about ten seconds. Programs ask for thousands."""

_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OCTETS_IN_PARTS: Final = 0x24
_CONSTRUCTED: Final = 0x20
_UNTIL_END: Final = 0x80
"""As length: the content goes on to two zeros (BER alone)."""
_SCRYPT: Final = 3
"""Numbers that scrypt has at least, which multiply its work; the others have a count and a size."""

Node = tuple[int, int, int]
"""Tag, and where the content begins and ends; -1 where two zeros tell the end."""


def rounds(content: bytes) -> int:
    """Return how many rounds of hashing a container asks for, as far as it says so in the clear.

    What stands inside of something encrypted is not seen. Content that is damaged counts up to the
    place where it is.
    """
    # Where there is something to derive from a passphrase, the salt's octets come first and then
    # the numbers (RFC 8018 appendix A.2, RFC 7292 section 4 and appendix C, RFC 7914 section 7).
    total, left, waiting = 0, 16 * len(content), [content]
    while waiting:
        numbers: list[int] | None = None
        part = waiting.pop()
        left -= len(part)
        if left < 0:
            return MOST + 1  # parts in parts in parts: nobody writes that
        for tag, inside in _leaves(part):
            if tag == _INTEGER and numbers is not None:
                numbers.append(int.from_bytes(inside[:16], "big"))
                continue
            total += _work(numbers)
            numbers = [] if tag in {_OCTETS, _OCTETS_IN_PARTS} else None
            if tag == _OCTETS_IN_PARTS and _is_whole(inside, 0, len(inside)):
                waiting.append(inside)
        total += _work(numbers)
    return total


def _work(numbers: list[int] | None) -> int:
    if numbers is None:
        return 0
    return prod(numbers[:_SCRYPT]) if len(numbers) >= _SCRYPT else sum(numbers[:1])


def _leaves(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Give what has no nodes inside, in order (X.690 section 8.1), up to where it is damaged.

    Octets that are themselves a node are entered; those that come in parts are given joined.
    """
    at = 0
    while (node := _node(content, at)) is not None:
        tag, at, end = node
        if tag == _OCTETS_IN_PARTS:
            joined, at = _joined(content, at, end)
            yield tag, joined
        elif not tag & _CONSTRUCTED and not (tag == _OCTETS and _is_whole(content, at, end)):
            yield tag, content[at:end]
            at = end


def _joined(content: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return octets that come in parts, and where they end."""
    parts = []
    while at != end and (node := _node(content, at)) is not None:
        tag, begins, at = node
        if tag != _OCTETS:
            break
        parts.append(content[begins:at])
    return b"".join(parts), at


def _is_whole(content: bytes, at: int, end: int) -> bool:
    """Tell whether what stands there is one sequence, or octets in parts, from begin to end."""
    node = _node(content, at)
    if node is None or not node[0] & _CONSTRUCTED:
        return False
    return node[2] == end or (node[2] < 0 and content[end - 2 : end] == b"\0\0")


def _node(content: bytes, at: int) -> Node | None:
    """Return the node at a place; None at the end and where none is."""
    if at < 0 or at + 2 > len(content):
        return None
    tag, length, begins = content[at], content[at + 1], at + 2
    if length == _UNTIL_END:
        return (tag, begins, -1) if tag & _CONSTRUCTED else None
    if length > _UNTIL_END:
        after = begins + (length & 0x7F)
        length, begins = int.from_bytes(content[begins:after], "big"), after
    return (tag, begins, begins + length) if begins + length <= len(content) else None
