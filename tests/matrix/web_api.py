"""Faults on a DiskStation and a router that are reached by their Web API."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from distributor.lab.box_state import DSM_DESKTOP, SRM_DESKTOP
from distributor.lab.calls import Answer, Call, html_page
from distributor.lab.diskstation import ADMIN
from distributor.lab.factory import factory_certificate
from distributor.lab.http_port import Reply
from distributor.lab.knobs import DSM72, SRM13
from distributor.lab.listener import server_context
from distributor.lab.material import Material
from distributor.lab.webapi import WRITES
from distributor.targets.router_facts import ENTRY
from tests.contract.delivering import WORK
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.lab_rig import QUICK, LabRig
from tests.contract.router_rig import router_rig
from tests.contract.scenarios import ROUTER_SCENARIOS, scenario_with_rsa
from tests.matrix.cells import SHOWN_AGAIN, Kind, Subject, never_in_a_handshake
from tests.matrix.peers import ALERT, NO_TLS

Matches = Callable[[Call], bool]
_SLOW_SECONDS: Final = 0.3
_GONE_SECONDS: Final = 0.4
_REFUSED: Final = 117
"""What a box answers that cannot do a thing now, such as for a full disk (facts 2.4)."""
_STRANGER: Final = factory_certificate("stranger")


def _any(_call: Call) -> bool:
    return True


def _is(api: str, method: str) -> Matches:
    return lambda call: call.api.endswith(api) and call.method == method


_LOGIN: Final = _is("Auth", "login")
_IMPORT: Final = _is("Certificate", "import")
_SERVICES: Final = _is("Service", "set")
_DEFAULT: Final = _is("CRT", "set")

_PORT: Final[Mapping[str, str]] = {
    "handshakes": "handshakes",
    "proving: handshakes": "proving",
    "back: handshakes": SHOWN_AGAIN,
}
"""Steps that are a handshake alone, and when they begin."""
_CALL: Final[Mapping[str, tuple[str, Matches]]] = {
    "signing in": ("signing in", _LOGIN),
    "looking": ("looking", _any),
    "keeping": ("keeping what is there", _any),
    "changing: pair": ("changing", _IMPORT),
    "changing: services": ("changing", _SERVICES),
    "proving: looking": ("proving", _any),
    "back: signing in": ("putting back", _LOGIN),
    "back: pair": ("putting back", _IMPORT),
    "back: default": ("putting back", _DEFAULT),
    "back: services": ("putting back", _SERVICES),
    "back: looking": (SHOWN_AGAIN, _any),
}
"""Steps that are a call, when they begin, and which call it is."""
_LATER: Final = frozenset({"changing: services", "back: default", "back: services"})
"""Steps that come after a write: another device is there only once that was made."""


@dataclass
class _Strike:
    matches: Matches
    act: Callable[[Call], Reply]
    is_due: bool = True


@dataclass(kw_only=True)
class WebSubject(Subject):
    """A box of the lab whose answers are taken from it one by one."""

    rig: LabRig
    strikes: list[_Strike] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.box = self.rig.box
        self.front = self.box._front
        self.ports: Any = self.box._ports
        self._healthy = self.front._answered
        self.front._answered = self._answered  # type: ignore[method-assign]  # between box and client

    @property
    def refusals(self) -> Mapping[str, int]:
        return {"login": self.box.failed_logins}

    def arm(self, step: str, fault: str) -> None:
        if step.startswith("back"):
            # The box cannot be read when it should prove itself: all of it has to be put back.
            self.hooks["proving"] = partial(self._add, _any, self._garbage, counts=False)
        if fault == "down":
            self.rig.patience = _GONE_SECONDS
        if step in _PORT:
            self.hooks[_PORT[step]] = partial(self._meet_at_the_port, fault)
        elif step == "reload":
            self.hooks["changing"] = partial(self._meet_at_the_restart, fault)
        else:
            begins, matches = _CALL[step]
            if fault == "identity" and step not in _LATER:
                self.hooks[begins] = self._be_another
            else:
                self.hooks[begins] = partial(self._add, matches, getattr(self, f"_{fault}"))

    def heal(self) -> None:
        self.strikes.clear()
        self.box.knobs = QUICK
        self.rig.patience = 5.0
        for owner, name in (
            (self.ports, "_open"),
            (self.ports.dsm, "_before_handshake"),
            (self.ports.dsm, "_clear"),
            (self.box._state, "presented"),
            (self.front, "_when_down"),
        ):
            was = vars(owner).pop(f"healthy{name}", None)
            if was is not None:
                setattr(owner, name, was)
        self.box._accounts._accounts[ADMIN.name] = ADMIN
        self.box.wait_until_serving()
        if self.ports._is_open:
            self.ports.reload()
        else:
            self.ports.open()

    # -- at a call -----------------------------------------------------------------------------

    def _add(self, matches: Matches, act: Callable[[Call], Reply], *, counts: bool = True) -> None:
        def struck(call: Call) -> Reply:
            self.struck = self.struck or counts
            return act(call)

        self.strikes.append(_Strike(matches, struck))

    def _answered(self, call: Call) -> Reply:
        for strike in self.strikes:
            if strike.is_due and strike.matches(call):
                strike.is_due = False
                return strike.act(call)
        return self._healthy(call)

    def _down(self, _call: Call) -> Reply:
        self._go_down()
        return _CUT

    def _cut(self, _call: Call) -> Reply:
        return _CUT

    def _lost(self, call: Call) -> Reply:
        return replace(self._healthy(call), arrives=0)

    def _password(self, call: Call) -> Reply:
        self._let_the_password_be_another()
        return self._healthy(call)

    def _identity(self, _call: Call) -> Reply:
        self._be_another()
        return _CUT

    def _refusal(self, _call: Call) -> Reply:
        return Reply(self._said(f'{{"error":{{"code":{_REFUSED}}},"success":false}}'))

    def _lie(self, call: Call) -> Reply:
        if (call.api, call.method) in WRITES:
            return Reply(self.front._done(call, stays=True))
        return Reply(self._said('{"success":true}'))

    def _garbage(self, _call: Call) -> Reply:
        return Reply(self._said('{"data":{"certificates":[{"id":'))

    def _slow(self, call: Call) -> Reply:
        time.sleep(_SLOW_SECONDS)
        return self._healthy(call)

    def _said(self, text: str) -> Answer:
        return Answer(200, self.box.profile.content_type, text.encode())

    # -- at a handshake, and at a restart ------------------------------------------------------

    def _meet_at_the_port(self, fault: str) -> None:
        if fault == "down":
            self._go_down()
        elif fault == "identity":
            self._be_another()
        elif fault == "slow":
            self._once(self.ports.dsm, "_before_handshake", lambda: time.sleep(_SLOW_SECONDS))
        elif fault == "cut":
            self._once(self.ports.dsm, "_before_handshake", _break_off)
        else:
            text = {"refusal": ALERT, "garbage": NO_TLS}[fault]
            self._once(self.ports.dsm, "_clear", partial(_say, text))

    def _meet_at_the_restart(self, fault: str) -> None:
        """Let the web server's restart go wrong that follows the import."""
        knobs = {
            "cut": {"restart_answers_502": True},
            "lost": {"restart_drops_answer": True},
            "slow": {"restart_seconds": 0.5},
        }
        self.box.knobs = replace(QUICK, **knobs.get(fault, {}))  # type: ignore[arg-type]  # as Knobs checks
        if fault in knobs:
            self._add(_IMPORT, self._healthy)
        elif fault == "down":
            self._replace(self.ports, "_open", lambda _restart: self._mark())
        elif fault == "password":
            self._replace(self.front, "_when_down", self._let_the_password_be_another)
        elif fault == "lie":
            known = self.box._state.presented(self._desktop)
            self._present(known)
        elif fault == "identity":
            self._present(_STRANGER)
        else:
            self._add(_IMPORT, self._then_garbage)

    def _then_garbage(self, call: Call) -> Reply:
        reply = self._healthy(call)
        self._add(_any, lambda _call: Reply(html_page(200)))
        return reply

    @property
    def _desktop(self) -> str:
        return SRM_DESKTOP.key if self.box.profile.system == "srm" else DSM_DESKTOP.key

    def _go_down(self) -> None:
        self._replace(self.ports, "_open", lambda _restart: None)
        self.ports.vanish()
        self._mark()

    def _be_another(self) -> None:
        """Let another device answer at the box's own port."""
        self._present(_STRANGER)
        self.ports.dsm.close()
        self.ports.dsm.open(server_context(_STRANGER))
        self._mark()

    def _present(self, material: Material) -> None:
        healthy = self.box._state.presented

        def presented(service: str) -> Material:
            if service != self._desktop:
                return healthy(service)
            self._mark()
            return material

        self._replace(self.box._state, "presented", presented)

    def _let_the_password_be_another(self) -> None:
        self.box._accounts._accounts[ADMIN.name] = replace(ADMIN, password="another")
        self.box.end_sessions()
        self._mark()

    def _once(self, owner: Any, name: str, act: Callable[..., Any]) -> None:
        healthy = getattr(owner, name)

        def first(*words: Any) -> Any:
            setattr(owner, name, healthy)
            self._mark()
            return act(*words)

        self._replace(owner, name, first)

    def _replace(self, owner: Any, name: str, other: Callable[..., Any]) -> None:
        vars(owner).setdefault(f"healthy{name}", getattr(owner, name))
        setattr(owner, name, other)

    def _mark(self) -> None:
        self.struck = True


_CUT: Final = Reply(html_page(502), arrives=0)


def _break_off() -> None:
    raise ConnectionAbortedError("cut on purpose")


def _say(text: bytes, connection: Any, _peer: str) -> bool:
    connection.sendall(text)
    return False


_NOT_ASKED: Final = "nobody asks for the restart, so that nothing can be refused"
_NEVER: Final = {
    **never_in_a_handshake(_PORT),
    ("reload", "refusal"): _NOT_ASKED,
}

_STEPS: Final[Mapping[str, str]] = {
    "handshakes": "handshakes",
    "signing in": "signing in",
    "looking": "looking: the list of certificates",
    "keeping": "keeping what is there: the export",
    "changing: pair": "changing: importing the pair (as the default)",
    "changing: services": "changing: moving a service",
    "reload": "reload: the web server's own restart",
    "proving: handshakes": "proving: handshakes",
    "proving: looking": "proving: looking again",
    "back: signing in": "putting back: signing in anew",
    "back: pair": "putting back: importing the old pair",
    "back: default": "putting back: making the old one the default",
    "back: services": "putting back: moving the service back",
    "back: handshakes": "putting back: handshakes",
    "back: looking": "putting back: looking again",
}


class WebKind(Kind):
    never = _NEVER
    ours: frozenset[str]

    @abstractmethod
    def rig(self, folder: Path) -> AbstractContextManager[LabRig]:
        """Give a healthy box."""

    @contextmanager
    def open(self, folder: Path) -> Iterator[Subject]:
        with self.rig(folder) as rig:
            yield WebSubject(rig=rig, ours=self.ours)


class DiskstationByApi(WebKind):
    name = "diskstation-api"
    title = "DiskStation by its Web API (DSM 7.2)"
    steps = _STEPS
    ours = frozenset({"known1"})

    def rig(self, folder: Path) -> AbstractContextManager[LabRig]:
        return diskstation_rig(WORK, folder, DSM72, QUICK)


class RouterByApi(WebKind):
    name = "router-api"
    title = "Router by its Web API (SRM 1.3)"
    steps: Mapping[str, str] = {
        step: words for step, words in _STEPS.items() if not step.endswith(("services", "default"))
    }
    ours = frozenset({ENTRY.id})

    def rig(self, folder: Path) -> AbstractContextManager[LabRig]:
        return router_rig(scenario_with_rsa(ROUTER_SCENARIOS[1]), folder, SRM13, QUICK)


WEB_KINDS: Final = (DiskstationByApi(), RouterByApi())
