"""Root by sudo: a password only where sudo asks for one, once, and never one that it refused."""

from collections.abc import Callable
from typing import Final

from distributor.clients.ssh_login import SshAccount
from distributor.model.errors import AuthRefused, DeviceRefused, HostError
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.protocol.remote_command import Dialogue, Sudo, SudoSays, why_sudo_ended

_HINTS: Final = {
    SudoSays.PASSWORD_WANTED: (
        "sudo wants a password, and there is none to give",
        "give `sudo_password`, or a rule with NOPASSWD in /etc/sudoers.d for this account",
    ),
    SudoSays.NOT_PERMITTED: (
        "this account may not become root by sudo",
        (
            "on a DiskStation it must be a member of administrators; elsewhere give it a rule in "
            "sudoers for /bin/sh, or log in as root by key"
        ),
    ),
    SudoSays.TERMINAL_WANTED: (
        "sudo wants a terminal",
        "take `requiretty` out of sudoers for this account (Defaults:USER !requiretty)",
    ),
    SudoSays.MISSING: (
        "there is no sudo",
        "log in as root: on a router with its admin's password, elsewhere by key",
    ),
}


class RootBySudo:
    """How one session becomes root; found out once, by a command that does nothing.

    A password is tried by itself: sudo that refuses it finds no other to read, and ends, in
    whatever words it was asked for. Only one that is right is sent along with commands.
    """

    def __init__(self, account: SshAccount, host: str) -> None:
        self._account = account
        self._host = host
        self._source: Callable[[], Secret] | None = account.sudo_password or account.password
        self._given: Secret | None = None
        self._way: Sudo | None = None
        self._refusal: AuthRefused | None = None

    def way(self, attempt: Callable[[Sudo], Dialogue]) -> Sudo:
        """Return how sudo is called; `attempt` tells what sudo made of a command that way.

        Raises AuthRefused when it lets nobody in, or these words were refused before;
        DeviceRefused when it runs nothing else; SecretError when there is no password to be had.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._way is not None:
            return self._way
        if self._source is None:
            self._way = Sudo.WITHOUT
            return self._way
        unasked = attempt(Sudo.UNASKED)
        if unasked.has_begun:
            self._way = Sudo.UNASKED
            return self._way
        if _why(unasked, password_sent=False) is not SudoSays.PASSWORD_WANTED:
            raise self.refused(unasked)
        self._given = self._unrefused(self._source())
        checked = attempt(Sudo.TO_CHECK)
        if not checked.has_begun:
            raise self.refused(checked)
        self._way = Sudo.BY_PASSWORD
        return self._way

    @property
    def password(self) -> bytes:
        """The line that sudo reads where it is called with a password."""
        if self._given is None:
            raise ValueError("sudo was not to read a password")
        return self._given.reveal().encode("utf-8") + b"\n"

    def refused(self, dialogue: Dialogue) -> HostError:
        """Return why sudo ran nothing, and remember a password that it may have refused."""
        said = printable(dialogue.before) or "no words"
        why = _why(dialogue, password_sent=self._given is not None)
        if self._given is not None and why in {SudoSays.WRONG_PASSWORD, SudoSays.OTHER}:
            # Words that are not known may mean the password: it is not tried twice.
            its_words = "" if why is SudoSays.WRONG_PASSWORD else f": {said}"
            error = AuthRefused(
                f"{self._host}: sudo refuses the password of '{printable(self._account.user)}'"
                f"{its_words}",
                hint="correct `sudo_password` (on a DiskStation it is the account's own password)",
                step="sudo",
            )
            self._account.refusals.note_refusal(self._name, self._given, error)
            self._refusal = error  # one that was right when it was tried may be so no more
            return error
        if why in _HINTS:
            message, hint = _HINTS[why]
            return AuthRefused(f"{self._host}: {message}", hint=hint, step="sudo")
        return DeviceRefused(
            f"{self._host}: sudo runs nothing: {said}",
            hint="try it there by hand: sudo -k; sudo id",
            step="sudo",
        )

    def _unrefused(self, password: Secret) -> Secret:
        before = self._account.refusals.refusal(self._name, password)
        if before is not None:
            raise before
        return password

    @property
    def _name(self) -> str:
        """The name that refused passwords are remembered under, beside those of logins."""
        return f"{self._account.user} (sudo)"


def _why(dialogue: Dialogue, *, password_sent: bool) -> SudoSays:
    if dialogue.prompts > 1:
        return SudoSays.WRONG_PASSWORD
    return why_sudo_ended(dialogue.before, password_sent=password_sent)
