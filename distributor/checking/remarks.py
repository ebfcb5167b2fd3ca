"""One thing that a check has to say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What it is about, what was seen, and what to do.

    A finding is wrong and makes the check fail; a note is worth knowing, and may be as it should.
    """

    name: str
    """One word with hyphens, the same for the same kind of remark, for scripts."""
    about: str
    """Such as `host attic` or `certificate home`."""
    message: str
    hint: str
    is_finding: bool = True
