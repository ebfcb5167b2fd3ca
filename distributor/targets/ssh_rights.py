"""Whether an account may write files by itself, or needs root for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from distributor.clients.shell import FileFacts, Shell
from distributor.model.errors import AuthRefused, ProtocolError

_LINES: Final = 4
# The folders come as arguments; the first four lines say who the account is.
_WHO: Final = (
    "id -u && id -un && id -G && id -Gn && "
    'for d do if [ -w "$d" ] && [ -x "$d" ]; then echo yes; else echo no; fi; done'
)


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in, and which folders it may write to."""

    names: frozenset[str]
    """Its number and its name."""
    groups: frozenset[str]
    """Numbers and names of its groups."""
    writable: Mapping[str, bool]
    """By folder."""

    @property
    def is_root(self) -> bool:
        """Whether nothing is refused to it."""
        return "0" in self.names

    def may_write(self, path: str, there: FileFacts | None, owner: str | None) -> bool:
        """Tell whether it may put a file at `path` that then has the owner it should.

        That is `owner`, or for None the one of the file that is there now.
        """
        if self.is_root:
            return True
        if owner is None and there is not None:
            owner = f"{there.uid}:{there.gid}"
        user, _, group = (owner or "").partition(":")
        return (
            self.writable[folder_of(path)]
            and (not user or user in self.names)
            and (not group or group in self.groups)
        )


def folder_of(path: str) -> str:
    """Return the folder that a file is in."""
    return path.rpartition("/")[0] or "/"


def account_of(shell: Shell, folders: Sequence[str]) -> Account:
    """Ask a host who is signed in there, and which of its folders that account may write to."""
    result = shell.run(["/bin/sh", "-c", _WHO, "sh", *folders], as_root=False)
    said = result.required("cannot tell which rights the account has", "rights")
    lines = said.decode("utf-8", "replace").splitlines()
    if len(lines) != _LINES + len(folders):
        raise ProtocolError(
            "the host's `id` answers something else than expected",
            hint="is this a Linux host with the usual tools?",
            step="rights",
        )
    numbers, names, groups, group_names = (frozenset(line.split()) for line in lines[:_LINES])
    may = (line == "yes" for line in lines[_LINES:])
    return Account(numbers | names, groups | group_names, dict(zip(folders, may, strict=True)))


def require_root(shell: Shell, what: str) -> None:
    """Become root once, and see that it works; raises AuthRefused that says `what` it is for."""
    try:
        shell.run(["true"], as_root=True).required(f"cannot become root {what}", "sudo")
    except AuthRefused as error:
        raise AuthRefused(
            f"{error.message}, which it takes {what}", hint=error.hint, step=error.step
        ) from error
