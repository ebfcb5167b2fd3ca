"""Who may log in to a virtual DiskStation, and who is logged in (dsm-web-api facts §2)."""

import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from distributor.lab.knobs import Knobs

NO_TOKEN = "--------"  # what DSM answers where no token was asked for  # noqa: S105 - not a password
_YES = frozenset({"yes", "true"})


@dataclass(frozen=True, slots=True)
class Account:
    """One user of the box; `otp_codes` are what its authenticator would show, each good once."""

    name: str
    password: str = field(repr=False)
    admin: bool = True
    disabled: bool = False
    locked: bool = False
    dsm_right: bool = True
    enforce_2fa: bool = False
    otp_codes: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """One login; `token` is "" where none was asked for."""

    sid: str = field(repr=False)
    account: Account
    peer: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A login that succeeded."""

    session: Session
    device_id: str = field(repr=False)


class LoginRefusedError(Exception):
    """A login the box refuses: the code of facts §2.3 and, for 403, the second step's token."""

    def __init__(self, code: int, second_step: str = "") -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.second_step = second_step


class Accounts:
    """Accounts, sessions, trusted devices and blocked addresses of one box; thread-safe."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._lock = threading.RLock()
        self._accounts = {account.name: account for account in accounts}
        self._sessions: dict[str, Session] = {}
        self._devices: dict[tuple[str, str], str] = {}
        self._second_steps: dict[str, str] = {}
        self._used_codes: set[tuple[str, str]] = set()
        self._failures: Counter[str] = Counter()
        self.logins = 0
        self.failed_logins = 0

    @property
    def sessions_open(self) -> int:
        """How many sessions are open now."""
        with self._lock:
            return len(self._sessions)

    def login(self, parameters: Mapping[str, str], peer: str, knobs: Knobs) -> Login:
        """Open a session, or raise LoginRefusedError; both are counted."""
        with self._lock:
            try:
                login = self._login(parameters, peer, knobs)
            except LoginRefusedError as refusal:
                self.failed_logins += 1
                if refusal.code in {400, 404}:
                    self._failures[peer] += 1
                raise
            self.logins += 1
            self._sessions[login.session.sid] = login.session
            return login

    def _login(self, parameters: Mapping[str, str], peer: str, knobs: Knobs) -> Login:
        limit = knobs.auto_block_after
        if limit is not None and self._failures[peer] >= limit:
            raise LoginRefusedError(407)
        account = self._authenticated(parameters)
        device_id = self._second_factor(account, parameters, knobs)
        wants_token = parameters.get("enable_syno_token", "") in _YES
        session = Session(
            sid=secrets.token_urlsafe(48),
            account=account,
            peer=peer,
            token=secrets.token_urlsafe(9) if wants_token else "",
        )
        return Login(session, device_id)

    def _authenticated(self, parameters: Mapping[str, str]) -> Account:
        """Check the password, then the account's state; this order is inferred."""
        account = self._accounts.get(parameters.get("account", ""))
        given = parameters.get("passwd", "")
        if account is None or not given:
            raise LoginRefusedError(400)
        if given != account.password and self._second_steps.get(given) != account.name:
            raise LoginRefusedError(400)
        if account.disabled:
            raise LoginRefusedError(401)
        if account.locked:
            raise LoginRefusedError(411)
        if not account.dsm_right:
            raise LoginRefusedError(402)
        return account

    def _second_factor(self, account: Account, parameters: Mapping[str, str], knobs: Knobs) -> str:
        """Return the device id to answer with, "" for none; raise 403, 404 or 406."""
        if not account.otp_codes:
            if account.enforce_2fa:
                raise LoginRefusedError(406)
            return ""
        device = (account.name, parameters.get("device_name", ""))
        given_id = parameters.get("device_id", "")
        if given_id and self._devices.get(device) == given_id:
            return given_id
        code = parameters.get("otp_code", "")
        if not code:
            step = secrets.token_urlsafe(24)
            self._second_steps[step] = account.name
            raise LoginRefusedError(403, step)
        if code not in account.otp_codes or (account.name, code) in self._used_codes:
            raise LoginRefusedError(404)
        self._used_codes.add((account.name, code))
        wants_device = parameters.get("enable_device_token", "") in _YES and device[1]
        if not wants_device or knobs.device_id_empty:
            return ""
        self._devices[device] = secrets.token_urlsafe(48)
        return self._devices[device]

    def session(self, sid: str) -> Session | None:
        """Return the open session of that id, if any."""
        with self._lock:
            return self._sessions.get(sid)

    def logout(self, sid: str) -> None:
        """End that session; an unknown one is no error."""
        with self._lock:
            self._sessions.pop(sid, None)

    def forget_sessions(self) -> None:
        """End every session."""
        with self._lock:
            self._sessions.clear()

    def forget_devices(self) -> None:
        """Revoke every trusted device: their ids lead to 403 from now on."""
        with self._lock:
            self._devices.clear()
