"""What a host shows of itself to who signed in by SSH."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from distributor.model.errors import DistributorError

WayToRoot = Literal["itself", "sudo", "sudo with a password"]
"""How an account comes to be root: it is root, or by sudo, which may ask for a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A host as it was seen once, with nothing changed on it."""

    believed_by: str
    """What its host key was compared with, for people."""
    release: str
    """What `/etc.defaults/VERSION` says, such as `DSM 7.2.2-72806`; foreign text, may be empty."""
    root: WayToRoot | DistributorError | None
    """How the account becomes root, or why not; None where it need not."""
    there: frozenset[str]
    """Those of the paths asked for that exist."""
    lacking: tuple[str, ...]
    """Those of the commands asked for that are not found."""
    skew: timedelta
    """How far its clock is ahead of ours."""
