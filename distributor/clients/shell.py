"""What drivers do on a host by a shell: commands, and files below absolute paths.

Paths that a device told pass `checked_path` before they become part of a command.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from distributor.model.errors import DeviceRefused, HostError, ProtocolError, Unreachable
from distributor.model.text import printable

COMMAND_SECONDS: Final = 60.0
"""How long a command may take that does not say otherwise."""
OUTPUT_LIMIT: Final = 1 << 20
"""Bytes that a command may write."""
CONTENT_LIMIT: Final = 1 << 20
"""Bytes of a file that is read or written."""
STAGED: Final = ".distribute-"
"""What the name of a file that is not in place yet has before its last, random part."""
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left."""

    status: int | None
    """Exit status; None when it is not known to have ended: it may have done all, some or none."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)

    @property
    def words(self) -> str:
        """What it wrote to stderr, as one line that may be shown: stdout may be a key's file."""
        return _shown(self.stderr) or "no words"

    @property
    def all_words(self) -> str:
        """The same with stdout, for a command that is not there to tell what a file holds."""
        return "; ".join(filter(None, map(_shown, (self.stderr, self.stdout)))) or "no words"

    def required(self, what: str, step: str) -> bytes:
        """Return stdout of a command that did well.

        Otherwise raise DeviceRefused with its status and words, or Unreachable where the connection
        was lost: `what` says for people what cannot be done.
        """
        if self.status is None:
            raise Unreachable(
                f"{what}: the connection was lost, or the time over, before the command's end",
                hint="look at the host: what was begun may have been done in part",
                step=step,
            )
        if self.status != 0:
            raise DeviceRefused(
                f"{what}: {self.words}",
                hint="look at it on the host itself",
                step=step,
                code=self.status,
            )
        return self.stdout


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a path without following a symbolic link."""

    kind: Literal["file", "folder", "link", "other"]
    mode: str
    """Four octal digits, such as `0400`."""
    uid: int
    gid: int
    owner: str
    """`user:group` by name; numbers where they have none."""
    size: int
    """Bytes."""


class Shell(Protocol):
    """A host's shell. Whoever implements it MUST keep to this.

    1. Nothing is written to a file that somebody else could read before it has its final mode.
    2. No content is in an argument, the environment or a file's name.
    3. A file is replaced as a whole: who reads it sees the old content or the new.
    4. What could not be read is an error, never *absent*.
    5. `run` raises HostError when the command was not begun, or wrote more than can be kept; what
       else became of one that was begun is in its Result.
    """

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        """Run a program by its name or absolute path; `stdin` is all that it reads."""

    def read(self, path: str, *, as_root: bool) -> bytes | None:
        """Return a file's content, or None when there is nothing at that path."""

    def look(self, paths: Sequence[str], *, as_root: bool) -> Mapping[str, FileFacts | None]:
        """Return what is at each path; None where there is nothing."""

    def names(self, folder: str, *, as_root: bool) -> tuple[str, ...] | None:
        """Return what a folder holds, sorted; None when there is no such folder."""

    def stage(self, path: str, content: bytes, *, as_root: bool) -> str:
        """Write `content` beside `path`, and return where: the writer's own, with mode 0600.

        All of it is there, or nothing.
        """

    def remove(self, paths: Sequence[str], *, as_root: bool) -> None:
        """Remove files that are there."""

    def close(self) -> None:
        """End the connection."""


def checked_path(text: str) -> str:
    """Return an absolute path that may become part of a command.

    Raises ProtocolError for one with control characters or line ends, a `.` or `..` in it, or more
    than 1024 bytes.
    """
    parts = text.split("/")[1:]
    fits = (
        text.startswith("/")
        and len(text.encode("utf-8", "surrogateescape")) <= _LONGEST
        and not any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in text)
        and not any(part in {"", ".", ".."} for part in parts)
    )
    if not fits and text != "/":
        raise _unfit(text)
    return text


def _shown(said: bytes) -> str:
    return printable(said.strip().decode("utf-8", "replace"))


def _unfit(text: str) -> HostError:
    return ProtocolError(
        f"'{printable(text)}' is no path to work with",
        hint="it must be absolute, without '.', '..', empty parts or control characters",
        step="path",
    )
