"""One login to a Synology device's Web API: discovery, signing in and out, calls, restarts.

DSM 6, DSM 7 and SRM differ in paths, versions and in what a login gives; the device tells all of
that when it is asked for its APIs, so that no setting is needed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import tenacity

from distributor.clients.http import Answer, PinnedHttp
from distributor.model.errors import (
    AuthRefused,
    DeviceRefused,
    HostError,
    ProtocolError,
    Unreachable,
)
from distributor.model.secret import DeviceToken, Secret
from distributor.model.text import printable
from distributor.protocol import dsm
from distributor.protocol.dsm_codes import BUSY, LOGIN_REASONS, SESSION_ENDED
from distributor.protocol.forms import Part

log = logging.getLogger(__name__)

Result = TypeVar("Result")

READ_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 180.0
"""An import was seen to take up to two minutes on slow boxes (dsm-web-api facts 3.2)."""
RESTART_SECONDS: Final = 120.0
"""How long a web server may be away after an import before the host counts as unreachable."""
LOGOUT_SECONDS: Final = 10.0
"""How long a logout is tried: a session that stays open ends by the device's own timer."""
DEVICE_NAME: Final = "distribute"
"""The name that device tokens are given under."""
_GATEWAY: Final = frozenset({502, 503, 504})
_NO_RIGHT: Final = 105
_PAUSES: Final = tenacity.wait_exponential(multiplier=0.25, max=3)
_CODE_WANTED: Final = 403


class Keeper(Protocol):
    """What is remembered of the logins to one host, in a run and between runs."""

    def refusal(self, user: str, password: Secret) -> AuthRefused | None:
        """Return the error that these words met within the last day, or None."""

    def note_refusal(self, user: str, password: Secret, error: AuthRefused) -> None:
        """Remember that the host refused these words."""

    def token(self, user: str) -> DeviceToken | None:
        """Return the device token of this user, or None."""

    def keep_token(self, user: str, token: DeviceToken) -> None:
        """Keep a device token for later logins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who signs in. Secrets are fetched at the moment of the login."""

    user: str
    password: Callable[[], Secret]
    keeper: Keeper
    one_time_code: Callable[[], Secret] | None = None
    """Gives a code that was not given before; None where there is no way to get one."""


class WebApiSession:
    """A session with one device. `close()` signs out, whatever happened before.

    A device whose web server restarts (as it does after an import) drops connections, answers with
    gateway errors, and may forget the session. Calls that are safe to repeat wait for it and sign
    in again; words that were refused are never sent again, in this run or for a day.
    """

    needs: tuple[str, ...] = (dsm.AUTH,)
    """The APIs that the device has to offer."""
    wrong_device: str = "is this a Synology device?"
    login_reasons: Mapping[int, tuple[str, str]] = LOGIN_REASONS
    """What a refused login means, and what to do, by code."""

    def __init__(
        self,
        http: PinnedHttp,
        account: Account,
        *,
        sleep: Callable[[float], None],
        patience: float = RESTART_SECONDS,
    ) -> None:
        self._http = http
        self._account = account
        self._sleep = sleep
        self._patience = patience
        self._apis: dict[str, dsm.Api] = {}
        self._login: dsm.Login | None = None
        self._has_written = False
        self._was_let_in = False
        self._is_gone = False

    @property
    def has_written(self) -> bool:
        """Whether something was sent that may make the web server restart."""
        return self._has_written

    def sign_in(self, *, after_write: bool = False) -> None:
        """Find the APIs and sign in, once.

        After a write of an earlier session the device may be restarting: it is waited for. Raises
        AuthRefused with the reason when the device says no.
        """
        self._has_written = after_write
        self._waiting(self._discover)
        self._waiting(self._sign_in)

    def close(self) -> None:
        """Sign out and close the connections; one that cannot be asked any more is left alone."""
        try:
            self._sign_out()
        finally:
            self._http.close()

    @property
    def _auth(self) -> dsm.Api:
        return self._apis[dsm.AUTH]

    def _discover(self) -> None:
        path = f"/webapi/{dsm.INFO_PATH}"
        form = dsm.info_query(self.needs)
        answer = self._http.request("POST", path, form=form, seconds=READ_SECONDS)
        self._apis = dsm.parse_info(self._data(answer, "discovery"))
        missing = [api for api in self.needs if api not in self._apis]
        if missing:
            raise ProtocolError(
                f"the device does not offer {', '.join(missing)}",
                hint=self.wrong_device,
                step="discovery",
            )

    def _sign_out(self) -> None:
        """End the session, for which a server that restarts is waited for shortly."""
        if self._login is None:
            return
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: not self._is_gone and is_away(error)),
            stop=tenacity.stop_after_delay(min(LOGOUT_SECONDS, self._patience)),
            wait=_PAUSES,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            attempts(self._call, dsm.AUTH, dsm.logout_form(self._auth), "logout")
            log.info("web api step=logout result=ok")
        except HostError as error:
            # The session ends by the device's own timer; the run's result does not depend on it.
            log.warning("web api step=logout result=%s", error.kind)
        finally:
            self._login = None

    def _sign_in(self) -> None:
        account = self._account
        password = account.password()
        before = account.keeper.refusal(account.user, password)
        if before is not None:
            raise before
        token = account.keeper.token(account.user)
        try:
            enrolled = dsm.device_fields(token.name, token.id.reveal()) if token else {}
            result = self._try_login(password, enrolled)
            wants_code = isinstance(result, dsm.Refusal) and result.code == _CODE_WANTED
            if wants_code:
                result = self._second_step(password, token)
            accepted = self._accepted(result)
        except AuthRefused as error:
            if error.code != _CODE_WANTED:
                account.keeper.note_refusal(account.user, password, error)
            raise
        self._login = dsm.parse_login(accepted)  # first of all: what is open can be closed
        log.info("web api step=login result=ok token=%s", self._login.token is not None)
        # DSM 7.0.1 was seen to answer an empty one (dsm-web-api facts 2.2).
        device_id = dsm.parse_device_id(accepted)
        if wants_code and device_id is not None:
            account.keeper.keep_token(account.user, DeviceToken(DEVICE_NAME, device_id))

    def _second_step(
        self, password: Secret, token: DeviceToken | None
    ) -> dict[str, Any] | dsm.Refusal:
        """Sign in with a one-time code, and ask for a device token with it."""
        if self._account.one_time_code is None:
            lost = token is not None
            raise AuthRefused(
                f"login as '{printable(self._account.user)}' refused: "
                + ("its device token is no longer valid" if lost else "it wants a second factor"),
                hint="enrol once, in a terminal: distribute trust HOST",
                step="login",
                code=_CODE_WANTED,
            )
        code = self._account.one_time_code()
        return self._try_login(password, dsm.code_fields(code.reveal(), DEVICE_NAME))

    def _try_login(self, password: Secret, more: Mapping[str, str]) -> dict[str, Any] | dsm.Refusal:
        form = dsm.login_form(self._auth, self._account.user, password.reveal()) | dict(more)
        answer = self._http.request(
            "POST", f"/webapi/{self._auth.path}", form=form, seconds=READ_SECONDS
        )
        return dsm.parse_answer(answer.status, answer.body)

    def _accepted(self, result: dict[str, Any] | dsm.Refusal) -> dict[str, Any]:
        if not isinstance(result, dsm.Refusal):
            return result
        if result.code not in self.login_reasons:
            # Busy, or something else that says nothing of the account: not a refusal to remember.
            raise DeviceRefused(
                f"login: {result.meaning}", hint=result.hint, step="login", code=result.code
            )
        meaning, hint = self.login_reasons[result.code]
        raise AuthRefused(
            f"login as '{printable(self._account.user)}' refused: {meaning}",
            hint=hint,
            step="login",
            code=result.code,
        )

    def _write(self, api: str, form: dict[str, str], step: str) -> None:
        self._has_written = True
        data = self._in_session(lambda: self._call(api, form, step))
        log.info("web api step=%s restarts=%s", step, bool(data.get("restart_httpd")))

    def _import(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Send an import, once: when Unreachable is raised it may have worked."""
        self._has_written = True

        def ask() -> dict[str, Any]:
            self._http.fresh()
            answer = self._http.request(
                "POST",
                f"/webapi/{self._apis[dsm.CERTIFICATE].path}",
                query={"api": dsm.CERTIFICATE, "method": "import", "version": "1"},
                parts=parts,
                headers=self._headers(),
                seconds=WRITE_SECONDS,
            )
            return self._data(answer, "import")

        data = self._in_session(ask)
        log.info("web api step=import restarts=%s", bool(data.get("restart_httpd")))
        return data

    def _export(self, **values: object) -> bytes:
        query = dsm.call_form(dsm.CERTIFICATE, "export", file="archive", **values)

        def ask() -> bytes:
            answer = self._http.request(
                "GET",
                f"/webapi/{self._apis[dsm.CERTIFICATE].path}",
                query=query,
                headers=self._headers(),
                seconds=READ_SECONDS,
            )
            if answer.body.startswith(b"PK"):
                return answer.body
            self._data(answer, "export")
            raise ProtocolError(
                "the device exported no archive",
                hint="export it by hand in Control Panel and look at it",
                step="export",
            )

        return self._patiently(ask)

    def _call(self, api: str, form: dict[str, str], step: str) -> dict[str, Any]:
        answer = self._post(self._apis[api].path, form, WRITE_SECONDS)
        return self._data(answer, step)

    def _post(self, path: str, form: dict[str, str], seconds: float) -> Answer:
        return self._http.request(
            "POST", f"/webapi/{path}", form=form, headers=self._headers(), seconds=seconds
        )

    def _headers(self) -> dict[str, str]:
        return dsm.session_headers(self._login) if self._login is not None else {}

    def _data(self, answer: Answer, step: str) -> dict[str, Any]:
        result = dsm.parse_answer(answer.status, answer.body)
        if isinstance(result, dsm.Refusal):
            raise DeviceRefused(
                f"{step}: {result.meaning}", hint=result.hint, step=step, code=result.code
            )
        return result

    def _patiently(self, ask: Callable[[], Result]) -> Result:
        """Ask; after a write also wait out the web server's restart, and sign in again."""
        return self._waiting(lambda: self._in_session(ask))

    def _waiting(self, ask: Callable[[], Result]) -> Result:
        """Ask; after a write repeat it for as long as the web server is away."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: self._has_written and is_away(error)),
            stop=tenacity.stop_after_delay(self._patience),
            wait=_PAUSES,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            result: Result = attempts(ask)
        except HostError as error:
            self._is_gone = is_away(error)
            raise
        return result

    def _in_session(self, ask: Callable[[], Result]) -> Result:
        try:
            result = ask()
        except DeviceRefused as error:
            # DSM 6 has no code for a session that it forgot; "no right" may mean that, too. It may
            # mean what it says as well: such a session is still open.
            forgotten = error.code == _NO_RIGHT and (self._has_written or self._was_let_in)
            if error.code not in SESSION_ENDED and not forgotten:
                raise
            log.info("web api step=login reason=session-ended code=%s", error.code)
            if forgotten:
                self._sign_out()
            self._sign_in()
            result = ask()
        self._was_let_in = True
        return result


def is_away(error: BaseException) -> bool:
    """Tell whether an error is what a device gives while its web server restarts."""
    if isinstance(error, ProtocolError):
        return error.code in _GATEWAY
    if isinstance(error, DeviceRefused):
        return error.code in BUSY
    return isinstance(error, Unreachable)
