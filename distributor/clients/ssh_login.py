"""Logging in by SSH: a key, then the password once; never twice what a host has refused.

Devices block an address after a few refused logins (dsm-ssh facts 3.1).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import paramiko

from distributor.clients.ssh_connection import Connection
from distributor.clients.ssh_errors import FOREIGN, translate
from distributor.clients.ssh_identity import agent_keys, private_key
from distributor.model.errors import AuthRefused, HostError, Unreachable
from distributor.model.secret import Secret
from distributor.model.text import printable

log = logging.getLogger(__name__)

LOGIN_SECONDS: Final = 60.0
"""For the whole login, in which an agent may ask a person, and a host delays what it refuses."""
_LOGIN_BYTES: Final = 1 << 18
_AGENT_KEYS: Final = 5
"""Keys of an agent that are tried: OpenSSH hangs up at the sixth refusal."""
_HUNG_UP: Final = frozenset({2, 14})
"""Codes by which servers hang up on too many refused logins (RFC 4253 section 11.1)."""
_PASSWORD: Final = "the password"  # noqa: S105 - what it is called in messages
_KEY_HINT: Final = (
    "is its public key in ~/.ssh/authorized_keys there? The server also refuses it while others "
    "may write the home folder, .ssh or that file: chmod 755 ~, chmod 700 ~/.ssh. On a DiskStation "
    "the account needs the User Home service and must be an administrator"
)
_WHO_GETS_IN: Final = (
    "correct user and password; a DiskStation lets in administrators only, and root by key only; "
    "a router lets in root with the password of its admin"
)


class Refusals(Protocol):
    """What is remembered of the passwords that one host refused."""

    def refusal(self, user: str, password: Secret) -> AuthRefused | None:
        """Return the error that these words met within the last day, or None."""

    def note_refusal(self, user: str, password: Secret, error: AuthRefused) -> None:
        """Remember that the host refused these words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccount:
    """Who logs in, and by what. Secrets are fetched at the moment they are needed."""

    user: str
    refusals: Refusals
    password: Callable[[], Secret] | None = None
    identity: Callable[[], Secret] | None = None
    """Without it, and without a password, the keys of the agent are tried."""
    passphrase: Callable[[], Secret] | None = None
    sudo_password: Callable[[], Secret] | None = None
    """None stands for the account's own password, where there is one."""


def log_in(connection: Connection, account: SshAccount) -> None:
    """Log in on a connection whose host key is trusted.

    Raises AuthRefused with what was tried and what the server would take, SecretError for a secret
    or key that cannot be had, Unreachable when the connection ends meanwhile.
    """
    with ExitStack() as held:
        _Login(connection, account, _keys(account, held)).run()


def _keys(account: SshAccount, held: ExitStack) -> Sequence[paramiko.PKey]:
    if account.identity is not None:
        passphrase = account.passphrase() if account.passphrase is not None else None
        return [private_key(account.identity(), passphrase)]
    return held.enter_context(agent_keys()) if account.password is None else []


class _Login:
    """One login: each key, then the password, as far as the server takes them."""

    def __init__(
        self,
        connection: Connection,
        account: SshAccount,
        keys: Sequence[paramiko.PKey],
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._account = account
        self._keys = keys[:_AGENT_KEYS]
        self._tried: list[str] = []
        self._takes: Sequence[str] = ()
        """What the server would take next, in its own words."""
        self._question: str | None = None
        """What it asked for beside the password."""
        self._is_partial = False
        """Whether the last attempt fitted, and it wants something more."""

    def run(self) -> None:
        # Longer than the wire's own bound, so that what is late is told apart from a refusal.
        self._transport.auth_timeout = 2 * LOGIN_SECONDS
        with self._connection.wire.within(LOGIN_SECONDS, _LOGIN_BYTES):
            if not self._is_let_in():
                raise self._refused()
        log.info("ssh step=login result=ok by=%s", self._tried[-1] if self._tried else "nothing")

    def _is_let_in(self) -> bool:
        user = self._account.user
        if self._try(lambda: self._transport.auth_none(user)):
            return True
        for key in self._keys:
            if "publickey" not in self._takes:
                break
            self._tried.append(f"the key {key.get_name()} {key.fingerprint}")
            if self._try(partial(self._transport.auth_publickey, user, key)):
                return True
        return self._account.password is not None and self._gives_password(self._account.password)

    def _gives_password(self, source: Callable[[], Secret]) -> bool:
        user = self._account.user
        if not {"password", "keyboard-interactive"} & set(self._takes):
            return False
        password = source()
        before = self._account.refusals.refusal(user, password)
        if before is not None:
            raise before
        if "password" in self._takes:
            give = partial(self._transport.auth_password, user, password.reveal(), fallback=False)
        else:
            give = partial(self._transport.auth_interactive, user, self._answering(password))
        self._tried.append(_PASSWORD)
        try:
            if self._try(give):
                return True
        except AuthRefused as error:
            if self._question is None:
                self._account.refusals.note_refusal(user, password, error)
            raise
        if not self._is_partial:
            self._account.refusals.note_refusal(user, password, self._refused())
        return False

    def _answering(
        self, password: Secret
    ) -> Callable[[str, str, list[tuple[str, bool]]], list[str]]:
        """Return what answers one question that is not echoed, and ends the login at any other."""
        answered = False

        def answer(_title: str, _text: str, questions: list[tuple[str, bool]]) -> list[str]:
            nonlocal answered
            if not questions:
                return []
            words, is_echoed = questions[0]
            if answered or is_echoed or len(questions) > 1:
                self._question = words
                raise paramiko.SSHException("asked for more than a password")
            answered = True
            return [password.reveal()]

        return answer

    def _try(self, attempt: Callable[[], Sequence[str]]) -> bool:
        """Make one attempt, and return whether the account is in."""
        self._is_partial = False
        try:
            wanted = attempt()
        except paramiko.BadAuthenticationType as error:
            self._takes = error.allowed_types
            return False
        except FOREIGN as error:
            refused = isinstance(error, paramiko.AuthenticationException)
            if refused and self._transport.is_active():
                return False
            raise self._ended(error) from error
        self._takes, self._is_partial = wanted, bool(wanted)
        return not wanted

    def _ended(self, error: Exception) -> HostError:
        """Return why the connection ended in the middle of a login."""
        out_of_bounds = self._connection.out_of_bounds()
        if out_of_bounds is not None:
            return out_of_bounds
        if self._question is not None:
            return AuthRefused(
                f"{self._who} not completed: the server asks for more than a password: "
                f"{printable(self._question)}",
                hint="use an account that logs in by a key (`identity`)",
                step="login",
            )
        code, words = self._transport.farewell or (0, "")
        if code in _HUNG_UP:
            return self._refused(f"; the server hung up: {printable(words)}")
        if not (isinstance(error, paramiko.AuthenticationException) or code):
            return translate(error, str(self._connection.address))
        if self._tried[-1:] == [_PASSWORD]:
            # Some servers refuse in this way. To take it for an accident would send it again.
            return AuthRefused(
                f"{self._who} refused, or broken off: the server ended the connection when it had "
                "got the password",
                hint=f"{_WHO_GETS_IN}. If it was only restarting: distribute trust HOST",
                step="login",
            )
        return Unreachable(
            f"{self._connection.address}: the connection ended during the login",
            hint="it may be restarting; try again",
            step="login",
        )

    def _refused(self, more: str = "") -> AuthRefused:
        tried = " and ".join(self._tried)
        takes = ", ".join(map(printable, self._takes)) or "nothing more"
        if not self._tried:
            more = f": there is nothing to log in with that it takes; it takes {takes}{more}"
            hint = "give `identity` or `password`, or start an agent that has a key"
        elif self._is_partial:
            more = f": {tried} fits, but it wants more than that: {takes}{more}"
            hint = "give both `identity` and `password`, or use an account that needs one of them"
        else:
            more = f": it does not take {tried}{more}"
            hint = _WHO_GETS_IN if self._tried[-1] == _PASSWORD else _KEY_HINT
        if self._account.password is not None and _PASSWORD not in self._tried:
            hint = f"it takes no password from this account, but {takes}; {_KEY_HINT}"
        return AuthRefused(f"{self._who} refused{more}", hint=hint, step="login")

    @property
    def _who(self) -> str:
        return f"login as '{printable(self._account.user)}'"
