"""One login to a DiskStation's Web API, and the calls that the product makes with it."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import tenacity

from distributor.clients.http import Answer, PinnedHttp
from distributor.model.bundle import Bundle
from distributor.model.errors import (
    AuthRefused,
    DeviceRefused,
    HostError,
    ProtocolError,
    Unreachable,
)
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.protocol import dsm
from distributor.protocol.dsm_codes import LOGIN_REASONS, SESSION_ENDED

log = logging.getLogger(__name__)

Result = TypeVar("Result")

READ_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 180.0
"""An import was seen to take up to two minutes on slow boxes (dsm-web-api facts 3.2)."""
RESTART_SECONDS: Final = 120.0
"""How long a web server may be away after an import before the host counts as unreachable."""
_GATEWAY: Final = frozenset({502, 503, 504})


class DsmSession:
    """A session with one box. `close()` signs out, whatever happened before.

    A box whose web server restarts (as it does after an import) drops connections, answers with
    gateway errors, and may forget the session. Calls that are safe to repeat wait for it and sign
    in again; the password is only used again after the box accepted it once.
    """

    def __init__(
        self,
        http: PinnedHttp,
        user: str,
        password: Callable[[], Secret],
        *,
        sleep: Callable[[float], None],
        patience: float = RESTART_SECONDS,
        when_refused: Callable[[AuthRefused], None] = lambda _error: None,
    ) -> None:
        self._http = http
        self._user = user
        self._password = password
        self._sleep = sleep
        self._patience = patience
        self._when_refused = when_refused
        self._apis: dict[str, dsm.Api] = {}
        self._login: dsm.Login | None = None
        self._has_written = False

    @property
    def is_version_6(self) -> bool:
        """Whether the box speaks as DSM 6 does: its newest login is version 6."""
        return dsm.login_version(self._auth) < dsm.NEWEST_LOGIN

    @property
    def has_written(self) -> bool:
        """Whether something was sent that may make the web server restart."""
        return self._has_written

    def sign_in(self, *, after_write: bool = False) -> None:
        """Find the APIs and sign in, once.

        After a write of an earlier session the box may be restarting: it is waited for. Raises
        AuthRefused with the reason when the box says no: the same words are never sent again.
        """
        self._has_written = after_write
        self._waiting(self._discover)
        self._waiting(self._sign_in)

    def close(self) -> None:
        """Sign out and close the connections; a box that cannot be asked any more is left alone."""
        try:
            if self._login is not None:
                self._post(self._auth.path, dsm.logout_form(self._auth), READ_SECONDS)
                log.info("dsm step=logout result=ok")
        except HostError as error:
            # The session ends by the box's own timer; the run's result does not depend on it.
            log.warning("dsm step=logout result=%s", error.kind)
        finally:
            self._login = None
            self._http.close()

    def certificates(self) -> tuple[dsm.Entry, ...]:
        """Return what the box lists; waits for it while it restarts."""
        form = dsm.call_form(dsm.CRT, "list")
        return dsm.parse_list(self._patiently(lambda: self._call(dsm.CRT, form, "list")))

    def export(self, entry_id: str) -> bytes:
        """Return the zip with the pair of one entry."""
        query = dsm.call_form(dsm.CERTIFICATE, "export", file="archive", id=entry_id)

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
                "the box exported no archive",
                hint="export it by hand in Control Panel > Security > Certificate",
                step="export",
            )

        return self._patiently(ask)

    def import_bundle(
        self, bundle: Bundle, *, entry_id: str, description: str, as_default: bool
    ) -> str | None:
        """Send an import once, and return the id that the box answered, if it did.

        `entry_id` empty makes a new entry. It is never repeated here: when Unreachable is raised
        the import may have worked, and the caller has to look.
        """
        self._has_written = True

        def ask() -> dict[str, Any]:
            self._http.fresh()
            answer = self._http.request(
                "POST",
                f"/webapi/{self._apis[dsm.CERTIFICATE].path}",
                query={"api": dsm.CERTIFICATE, "method": "import", "version": "1"},
                parts=dsm.import_parts(
                    private_key=bundle.private_key_pem.reveal().encode("ascii"),
                    leaf=bundle.leaf_pem,
                    chain=bundle.chain_pem,
                    entry_id=entry_id,
                    description=description,
                    as_default=as_default,
                ),
                headers=self._headers(),
                seconds=WRITE_SECONDS,
            )
            return self._data(answer, "import")

        data = self._in_session(ask)
        identifier = data.get("id")
        log.info("dsm step=import restarts=%s", bool(data.get("restart_httpd")))
        return identifier if isinstance(identifier, str) and identifier else None

    def move(self, moves: Sequence[dsm.Move]) -> None:
        """Move services to other entries; moving one to where it is already is left out.

        DSM 6 was seen to drop the binding altogether in that case (dsm-web-api facts 3.5). Like an
        import it is sent once: each move names the entry that the service leaves, which it may
        have left when the answer was lost.
        """
        needed = [move for move in moves if move.old_id != move.new_id]
        if needed:
            form = dsm.call_form(dsm.SERVICE, "set", settings=dsm.moves_value(needed))
            self._write(dsm.SERVICE, form, "bind")

    def make_default(self, entry_id: str, description: str) -> None:
        """Make an entry the default; its description has to be sent along, or it is lost."""
        form = dsm.call_form(dsm.CRT, "set", id=entry_id, desc=description, as_default=True)
        self._waiting(lambda: self._write(dsm.CRT, form, "default"))

    def delete(self, entry_ids: Iterable[str]) -> None:
        """Remove entries; sent once, since an entry that is gone cannot be removed again."""
        self._write(dsm.CRT, dsm.call_form(dsm.CRT, "delete", ids=list(entry_ids)), "delete")

    @property
    def _auth(self) -> dsm.Api:
        return self._apis[dsm.AUTH]

    def _discover(self) -> None:
        wanted = (dsm.AUTH, dsm.CERTIFICATE, dsm.CRT, dsm.SERVICE)
        path = f"/webapi/{dsm.INFO_PATH}"
        answer = self._http.request("POST", path, form=dsm.info_query(wanted), seconds=READ_SECONDS)
        self._apis = dsm.parse_info(self._data(answer, "discovery"))
        missing = [api for api in wanted if api not in self._apis]
        if missing:
            raise ProtocolError(
                f"the box does not offer {', '.join(missing)}",
                hint="is this a DiskStation with DSM 7?",
                step="discovery",
            )
        if self._auth.newest < dsm.OLDEST_LOGIN:
            raise ProtocolError(
                f"the box's newest login is version {self._auth.newest}",
                hint="update DSM",
                step="discovery",
            )

    def _sign_in(self) -> None:
        form = dsm.login_form(self._auth, self._user, self._password().reveal())
        answer = self._post(self._auth.path, form, READ_SECONDS)
        result = dsm.parse_answer(answer.status, answer.body)
        if isinstance(result, dsm.Refusal):
            meaning, hint = LOGIN_REASONS.get(result.code, (result.meaning, result.hint))
            error = AuthRefused(
                f"login as '{printable(self._user)}' refused: {meaning}",
                hint=hint,
                step="login",
                code=result.code,
            )
            self._when_refused(error)
            raise error
        self._login = dsm.parse_login(result)
        log.info("dsm step=login result=ok token=%s", self._login.token is not None)

    def _write(self, api: str, form: dict[str, str], step: str) -> None:
        self._has_written = True
        data = self._in_session(lambda: self._call(api, form, step))
        log.info("dsm step=%s restarts=%s", step, bool(data.get("restart_httpd")))

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
            wait=tenacity.wait_exponential(multiplier=0.25, max=3),
            sleep=self._sleep,
            reraise=True,
        )
        result: Result = attempts(ask)
        return result

    def _in_session(self, ask: Callable[[], Result]) -> Result:
        try:
            return ask()
        except DeviceRefused as error:
            if error.code not in SESSION_ENDED:
                raise
            log.info("dsm step=login reason=session-ended code=%s", error.code)
        self._sign_in()
        return ask()


def is_away(error: BaseException) -> bool:
    """Tell whether an error is what a box gives while its web server restarts."""
    if isinstance(error, ProtocolError):
        return error.code in _GATEWAY
    return isinstance(error, Unreachable)
