"""A session on a host by SSH: one connection, a channel for each command, root by sudo.

The password for sudo is sent when sudo asks for it, and content when the command runs that it is
for: neither can end up in the other's place, whatever sudoers says (dsm-ssh facts 3.2).
"""

import logging
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import COMMAND_SECONDS, OUTPUT_LIMIT, Result
from distributor.clients.ssh_connection import Connection, connect, search
from distributor.clients.ssh_exchange import Exchange
from distributor.clients.ssh_login import SshAccount, log_in
from distributor.clients.sudo import SudoDialogue
from distributor.model.errors import HostError, ProtocolError, Unreachable
from distributor.model.host_keys import HostKey, HostKeyTrust
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable
from distributor.protocol.remote_command import Dialogue, Sudo, command_line

log = logging.getLogger(__name__)

_UID: Final = re.compile(rb"[0-9]{1,10}")
_WIRE_BYTES: Final = 4 * OUTPUT_LIMIT
"""Bytes that may come for one command: what it writes, what is on its way, and its packets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """An SSH server to go through."""

    address: SocketAddress
    account: SshAccount
    trust: HostKeyTrust


class SshSession(RemoteFiles):
    """A session with one host (`shell.Shell`). `close()` ends it, whatever happened before.

    What takes longer than it may ends the connection: another session begins anew.
    """

    def __init__(
        self,
        address: SocketAddress,
        account: SshAccount,
        trust: HostKeyTrust,
        *,
        sleep: Callable[[float], None],
        jump: Jump | None = None,
    ) -> None:
        self._address = address
        self._account = account
        self._trust = trust
        self._sleep = sleep
        self._jump = jump
        self._connection: Connection | None = None
        self._uid: int | None = None

    def __enter__(self) -> Self:
        try:
            self.sign_in()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_root(self) -> bool:
        """Whether the account itself is root."""
        return self._uid == 0

    def sign_in(self) -> None:
        """Connect, look at the host key, log in once, and see that there is a shell.

        Raises Untrusted, AuthRefused, Unreachable, ProtocolError or SecretError with the reason.
        """
        below = _jumped(self._jump, self._sleep) if self._jump is not None else None
        try:
            connection = connect(self._address, self._trust, below=below, sleep=self._sleep)
        except BaseException:
            if below is not None:
                below.close()
            raise
        self._connection = connection
        log_in(connection, self._account)
        told = self.run(["id", "-u"], as_root=False).required("cannot tell who it is", "login")
        if not _UID.fullmatch(told.strip()):
            raise ProtocolError(
                f"{self._address}: `id -u` tells no number",
                hint="is this a Linux host with the usual tools?",
                step="login",
            )
        self._uid = int(told)

    def close(self) -> None:
        """End the connection, and that to a host in between; quiet if there is none."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        """See `shell.Shell`.

        Raises AuthRefused when sudo refuses, ProtocolError when the account has no shell or the
        command wrote more than `OUTPUT_LIMIT`.
        """
        connection = self._connection
        if connection is None:
            raise ValueError("the session is not signed in")
        by_sudo = as_root and not self.is_root
        sudo = SudoDialogue(self._account)
        token = secrets.token_hex(16)
        line = command_line(command, token, sudo.kind if by_sudo else Sudo.NOT)
        dialogue = Dialogue(token, OUTPUT_LIMIT)
        with connection.wire.within(seconds, _WIRE_BYTES):
            Exchange(connection, line, dialogue).run(stdin, sudo.password)
        log.debug("ssh step=command begun=%s status=%s", dialogue.has_begun, dialogue.status)
        if not dialogue.has_begun:
            if by_sudo and dialogue.has_shell and connection.transport.is_active():
                raise sudo.refused(str(self._address), dialogue)
            raise self._not_begun(connection, dialogue)
        if dialogue.is_too_much:
            raise ProtocolError(
                f"{self._address}: a command wrote more than {OUTPUT_LIMIT >> 10} KiB",
                hint="look at it on the host itself",
                step="command",
            )
        status = dialogue.status if dialogue.has_ended else None
        return Result(status, dialogue.stdout, dialogue.stderr)

    def _not_begun(self, connection: Connection, dialogue: Dialogue) -> HostError:
        """Return why a command did not run at all."""
        out_of_bounds = connection.out_of_bounds()
        if out_of_bounds is not None:
            return out_of_bounds
        if not connection.transport.is_active():
            return Unreachable(
                f"{self._address}: the server ended the connection before the command began",
                hint="it may be restarting; try again",
                step="command",
            )
        return ProtocolError(
            f"{self._address}: the account '{printable(self._account.user)}' runs no commands: "
            f"{printable(dialogue.before) or 'no words'}",
            hint="it needs a shell, and no command that its key is bound to; on a DiskStation only "
            "administrators have one",
            step="login",
        )


def shown_host_key(
    address: SocketAddress,
    *,
    wanted: Collection[str],
    types: Collection[str],
    sleep: Callable[[float], None],
    jump: Jump | None = None,
) -> HostKey:
    """Return the host key with one of the fingerprints `wanted`, if the server has it.

    Otherwise the one that it prefers. Nobody logs in, but to the host in between. `types` are those
    of the wanted keys, where they are known.
    """
    below = _jumped(jump, sleep) if jump is not None else None
    try:
        found = search(
            address, lambda key: key.fingerprint in wanted, types, below=below, sleep=sleep
        )
        found.close()
    finally:
        if below is not None:
            below.close()
    return found.host_key


def _jumped(jump: Jump, sleep: Callable[[float], None]) -> Connection:
    """Return a connection to a host to go through, logged in."""
    connection = connect(jump.address, jump.trust, below=None, sleep=sleep)
    try:
        log_in(connection, jump.account)
    except BaseException:
        connection.close()
        raise
    return connection
