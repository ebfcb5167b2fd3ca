"""Who may log in to a virtual box, and who is logged in (dsm-web-api facts §2, §4, §5)."""

import secrets
import string
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from distributor.lab.knobs import Knobs
from distributor.lab.totp import code_for, step_at

NO_TOKEN = "--------"  # what DSM answers where no token was asked for  # noqa: S105 - not a password
_YES = frozenset({"yes", "true"})


@dataclass(frozen=True, slots=True)
class Account:
    """One user of the box.

    Its authenticator shows the codes of `totp_secret` (base32) or, where a test wants no clock,
    those of `otp_codes`; each is good once.
    """

    name: str
    password: str = field(repr=False)
    admin: bool = True
    disabled: bool = False
    locked: bool = False
    dsm_right: bool = True
    enforce_2fa: bool = False
    password_code: Literal[0, 408, 409, 410] = 0
    """What the right password is answered with: 0 for good, 408 and 409 for expired, 410 where it
    must be changed."""
    otp_codes: frozenset[str] = field(default=frozenset(), repr=False)
    totp_secret: str = field(default="", repr=False)

    @property
    def has_2fa(self) -> bool:
        """Whether a password alone is not enough."""
        return bool(self.otp_codes or self.totp_secret)


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
    """Accounts, sessions, trusted devices and blocked addresses of one box; thread-safe.

    `clock` gives seconds since 1970. With `only_first` nobody but the first administrator may use
    the Web API, as on a router. Raises ValueError for a TOTP secret that is not base32.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        clock: Callable[[], float] = time.time,
        *,
        only_first: bool = False,
    ) -> None:
        self._lock = threading.RLock()
        self._accounts = {account.name: account for account in accounts}
        for account in self._accounts.values():
            code_for(account.totp_secret, 0)  # raises now rather than at the first login
        self._clock = clock
        self._only_first = only_first
        self._sessions: dict[str, Session] = {}
        self._last_use: dict[str, float] = {}
        self._devices: dict[tuple[str, str], str] = {}
        self._second_steps: dict[str, str] = {}
        self._used_codes: set[tuple[str, str]] = set()
        self._failures: Counter[str] = Counter()
        self._wrong_passwords: Counter[str] = Counter()
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
            self._last_use[login.session.sid] = self._clock()
            return login

    def _login(self, parameters: Mapping[str, str], peer: str, knobs: Knobs) -> Login:
        limit = knobs.auto_block_after
        if limit is not None and self._failures[peer] >= limit:
            raise LoginRefusedError(407)
        account = self._authenticated(parameters, knobs)
        device_id = self._second_factor(account, parameters, knobs)
        wants_token = parameters.get("enable_syno_token", "") in _YES
        session = Session(
            sid=_new_sid(knobs),
            account=account,
            peer=peer,
            token=secrets.token_urlsafe(9) if wants_token else "",
        )
        return Login(session, device_id)

    def _authenticated(self, parameters: Mapping[str, str], knobs: Knobs) -> Account:
        """Check the password, then the account's state; this order is inferred."""
        account = self._accounts.get(parameters.get("account", ""))
        given = parameters.get("passwd", "")
        if account is None or not given:
            raise LoginRefusedError(400)
        limit = knobs.account_locks_after
        is_locked = limit is not None and self._wrong_passwords[account.name] >= limit
        if is_locked and not self._is_trusted(account, parameters, knobs):
            raise LoginRefusedError(411)
        if given != account.password and self._second_steps.get(given) != account.name:
            self._wrong_passwords[account.name] += 1
            raise LoginRefusedError(400)
        if account.disabled:
            raise LoginRefusedError(401)
        if account.locked:
            raise LoginRefusedError(411)
        if not account.dsm_right or not (knobs.router_refuses_late or self.may_manage(account)):
            raise LoginRefusedError(402)
        if account.password_code:
            raise LoginRefusedError(account.password_code)
        return account

    def may_manage(self, account: Account) -> bool:
        """Whether the Web API is there for this account at all."""
        if not self._only_first:
            return True
        first = next((one for one in self._accounts.values() if one.admin), None)
        return account == first

    def _is_trusted(self, account: Account, parameters: Mapping[str, str], knobs: Knobs) -> bool:
        device = (account.name, parameters.get("device_name", ""))
        given = parameters.get("device_id", "")
        return bool(given and self._devices.get(device) == given and not knobs.device_ids_forgotten)

    def _second_factor(self, account: Account, parameters: Mapping[str, str], knobs: Knobs) -> str:
        """Return the device id to answer with, "" for none; raise 403, 404 or 406."""
        if not account.has_2fa:
            if account.enforce_2fa:
                raise LoginRefusedError(406)
            return ""
        if self._is_trusted(account, parameters, knobs):
            return parameters["device_id"]
        given = parameters.get("otp_code", "")
        if not given:
            step = secrets.token_urlsafe(24)
            self._second_steps[step] = account.name
            raise LoginRefusedError(403, step)
        code = self._code(account, given, knobs)
        if code is None or (account.name, code) in self._used_codes:
            raise LoginRefusedError(404)
        self._used_codes.add((account.name, code))
        device = (account.name, parameters.get("device_name", ""))
        wants_device = parameters.get("enable_device_token", "") in _YES and device[1]
        if not wants_device or knobs.device_id_empty:
            return ""
        self._devices[device] = secrets.token_urlsafe(48)
        return self._devices[device]

    def _code(self, account: Account, given: str, knobs: Knobs) -> str | None:
        """Return what tells a valid code from every other code, so that it is good only once."""
        if given in account.otp_codes:
            return given
        if account.totp_secret:
            now = step_at(self._clock())
            for step in range(now - knobs.totp_steps, now + knobs.totp_steps + 1):
                if given == code_for(account.totp_secret, step):
                    return f"step {step}"
        return None

    def session(self, sid: str, idle_seconds: float) -> Session | None:
        """Return the open session of that id; unused for longer than that, it is over."""
        with self._lock:
            found = self._sessions.get(sid)
            if found is None:
                return None
            if self._clock() - self._last_use[sid] > idle_seconds:
                del self._sessions[sid]
                return None
            self._last_use[sid] = self._clock()
            return found

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


def _new_sid(knobs: Knobs) -> str:
    first = string.digits if knobs.sid_starts_with_digit else string.ascii_letters
    return secrets.choice(first) + secrets.token_urlsafe(48)
