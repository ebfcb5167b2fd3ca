"""What is said over an exec channel of SSH: the command line, and what comes back.

A login shell may print what it likes before our command runs, sudo may or may not read a password,
whatever it asks for it with, and the account may be bound to a command of its own. Random markers
tell these apart, so that a password is sent only where sudo runs next, and content only to the
command that it is for.
"""

import re
import shlex
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

PATH: Final = (
    "/sbin:/bin:/usr/sbin:/usr/bin:/usr/syno/sbin:/usr/syno/bin:/usr/local/sbin:/usr/local/bin"
)
"""Where commands are looked for; what the login shell has may lack the system's own folders."""

# $1 is the token; the rest is the command. It ends by `exit`, not `exec`: the end marker tells that
# the command itself has come to its end, also where something it started keeps our pipes open.
_BEGUN: Final = 'printf %s "${t}b" >&2;printf %s "${t}b";'
_RUN: Final = (
    f"PATH={PATH};LC_ALL=C;export PATH LC_ALL;cd /;t=$1;shift;"
    f'{_BEGUN}"$@";s=$?;'
    'printf %s "${t}e$s;" >&2;printf %s "${t}e$s;";exit $s'
)
# A password that sudo did not read ends here, and not in the content: that follows the line that
# says so.
_CLEARED: Final = 'l=;while [ "$l" != "${t}g" ];do IFS= read -r l||exit 1;done;'
# $1 is the token, $2 what root's shell runs.
_SUDO: Final = (
    f"PATH={PATH};LC_ALL=C;export PATH LC_ALL;t=$1;r=$2;shift 2;"
    'printf %s "${t}s" >&2;exec sudo OPTIONS -- /bin/sh -c "$r" sh "$t" "$@"'
)


class Sudo(Enum):
    """How root is asked for."""

    NOT = auto()
    """Not at all: the account is root, or root is not needed."""
    BY_PASSWORD = auto()
    """With a password, which is known to be right."""
    TO_CHECK = auto()
    """With a password that stdin ends after: sudo, asking again, gets no answer and ends."""
    WITHOUT = auto()
    """There is no password to give; sudo may remember one."""
    UNASKED = auto()
    """As sudoers lets the account, without any password."""


def command_line(command: Sequence[str], token: str, sudo: Sudo) -> str:
    """Return what the login shell is asked to run.

    Raises ValueError for a command without program, or with a NUL in it, which no process can get.
    """
    if not command or not command[0] or any("\0" in word for word in command):
        raise ValueError("a command has a program and no NUL")
    if sudo is Sudo.NOT:
        words = ["/bin/sh", "-c", _RUN, "sh", token, *command]
    else:
        # With -k nothing that sudo remembers counts, so that it is the same each time.
        options = {Sudo.WITHOUT: "-n", Sudo.UNASKED: "-k -n"}.get(sudo, '-k -S -p "${t}p"')
        script = _SUDO.replace("OPTIONS", options)
        run = _RUN.replace(_BEGUN, _BEGUN + _CLEARED) if sudo is Sudo.BY_PASSWORD else _RUN
        words = ["/bin/sh", "-c", script, "sh", token, run, *command]
    return "exec " + shlex.join(words)


class Dialogue:
    """What came back so far for one command, of which `limit` bytes are kept at most."""

    def __init__(self, token: str, limit: int) -> None:
        self._token = token.encode("ascii")
        self._limit = limit
        self._out = bytearray()
        self._err = bytearray()
        self._end = re.compile(re.escape(self._token) + rb"e([0-9]{1,3});")

    def heard(self, out: bytes, err: bytes) -> None:
        """Take what came on stdout and stderr."""
        self._out += out
        self._err += err

    @property
    def is_too_much(self) -> bool:
        """Whether more came than is kept."""
        return len(self._out) + len(self._err) > self._limit

    @property
    def has_shell(self) -> bool:
        """Whether a shell ran our words (told only where sudo is to follow)."""
        return self._token + b"s" in self._err

    @property
    def prompts(self) -> int:
        """How often sudo has asked for a password, where PAM left it the words for it."""
        return self._err.count(self._token + b"p")

    @property
    def cleared(self) -> bytes:
        """The line that content comes after, where a password may not have been read."""
        return self._token + b"g\n"

    @property
    def has_begun(self) -> bool:
        """Whether the command runs, and may get its content."""
        return self._token + b"b" in self._out

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended, and all that it wrote is here."""
        return all(self._end.search(stream) is not None for stream in (self._out, self._err))

    @property
    def status(self) -> int | None:
        """The command's exit status; None as long as it is not known to have ended."""
        found = self._end.search(self._out)
        return int(found[1]) if found else None

    @property
    def stdout(self) -> bytes:
        """What the command itself has written to stdout."""
        return self._written(self._out)

    @property
    def stderr(self) -> bytes:
        """What the command itself has written to stderr."""
        return self._written(self._err)

    @property
    def before(self) -> str:
        """What was said on both before the command ran, markers left out; sudo's words last."""
        begin = self._token + b"b"
        parts = (bytes(self._out).partition(begin)[0], bytes(self._err).partition(begin)[0])
        text = b"\n".join(parts).decode("utf-8", "replace")
        return re.sub(re.escape(self._token.decode()) + "[sp]", " ", text).strip()

    def _written(self, stream: bytearray) -> bytes:
        _, found, rest = bytes(stream).partition(self._token + b"b")
        if not found:
            return b""
        end = self._end.search(rest)
        return rest[: end.start()] if end else rest


class SudoSays(Enum):
    """Why sudo ran nothing."""

    WRONG_PASSWORD = auto()
    PASSWORD_WANTED = auto()
    NOT_PERMITTED = auto()
    TERMINAL_WANTED = auto()
    MISSING = auto()
    OTHER = auto()


# Words of sudo 1.8 and 1.9 in the C locale. What is not permitted stands first: an account that is
# not in sudoers is asked for its password all the same.
_WORDS: Final = (
    (("not in the sudoers file", "is not allowed to", "may not run sudo"), SudoSays.NOT_PERMITTED),
    (("you must have a tty", "a terminal is required"), SudoSays.TERMINAL_WANTED),
    (("a password is required",), SudoSays.PASSWORD_WANTED),
    (("incorrect password", "Sorry, try again"), SudoSays.WRONG_PASSWORD),
    (("sudo: not found", "sudo: command not found", "sudo: No such file"), SudoSays.MISSING),
)


def why_sudo_ended(said: str, *, password_sent: bool) -> SudoSays:
    """Return what the words mean that sudo left with."""
    for words, meaning in _WORDS:
        if any(word in said for word in words):
            if meaning is SudoSays.PASSWORD_WANTED and password_sent:
                return SudoSays.WRONG_PASSWORD
            return meaning
    return SudoSays.OTHER
