"""Text that somebody else wrote (a device, a CA, a nameserver) made safe to show."""

import unicodedata

LIMIT = 300
"""Characters shown at most: a line that a terminal and a log can still hold."""

_ELLIPSIS = "…"


def printable(text: object, limit: int = LIMIT) -> str:
    r"""Return `text` on one line, free of control and bidi characters, at most `limit` long.

    What is not shown as it is appears as an escape (`\x1b`, `\u202e`), so that nothing is lost
    without a trace and nothing reaches the terminal as a command. The result is plain text: whoever
    puts it into markup still has to escape it for that markup.
    """
    shown: list[str] = []
    length = 0
    for character in str(text):
        piece = character if _harmless(character) else _escaped(character)
        length += len(piece)
        if length > limit:
            return "".join(shown)[: limit - len(_ELLIPSIS)] + _ELLIPSIS
        shown.append(piece)
    return "".join(shown)


def _harmless(character: str) -> bool:
    # Cc control, Cf format (bidi, zero width), Cs surrogates, Co private use, Cn unassigned,
    # Zl/Zp line and paragraph separators: none of them is text that a person reads.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:  # noqa: PLR2004 - two hex digits hold it
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"  # noqa: PLR2004 - the same
