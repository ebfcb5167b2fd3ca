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


class SudoDialogue:
    """What one account says to sudo for one command."""

    def __init__(self, account: SshAccount) -> None:
        self._account = account
        self._source: Callable[[], Secret] | None = account.sudo_password or account.password
        self._given: Secret | None = None

    @property
    def kind(self) -> Sudo:
        """How sudo is called."""
        return Sudo.WITHOUT if self._source is None else Sudo.BY_PASSWORD

    def password(self) -> bytes:
        """Return the line that sudo reads; raises AuthRefused when it refused these words before.

        Raises SecretError when they cannot be had.
        """
        if self._source is None:
            raise ValueError("sudo was not to ask")
        password = self._source()
        before = self._account.refusals.refusal(self._name, password)
        if before is not None:
            raise before
        self._given = password
        return password.reveal().encode("utf-8") + b"\n"

    def refused(self, host: str, dialogue: Dialogue) -> HostError:
        """Return why sudo ran nothing, and remember a password that it refused."""
        said = dialogue.before
        why = why_sudo_ended(said, password_sent=self._given is not None)
        if self._given is not None and (dialogue.prompts > 1 or why is SudoSays.WRONG_PASSWORD):
            error = AuthRefused(
                f"{host}: sudo refuses the password of '{printable(self._account.user)}'",
                hint="correct `sudo_password` (on a DiskStation it is the account's own password)",
                step="sudo",
            )
            self._account.refusals.note_refusal(self._name, self._given, error)
            return error
        if why in _HINTS:
            message, hint = _HINTS[why]
            return AuthRefused(f"{host}: {message}", hint=hint, step="sudo")
        return DeviceRefused(
            f"{host}: sudo runs nothing: {printable(said) or 'no words'}",
            hint="try it there by hand: sudo -k; sudo id",
            step="sudo",
        )

    @property
    def _name(self) -> str:
        """The name that refused passwords are remembered under, beside those of logins."""
        return f"{self._account.user} (sudo)"
