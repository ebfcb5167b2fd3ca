"""Faults on hosts that are reached by SSH: DiskStations, a router, and PEM files on any host."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from distributor.clients.shell import Result
from distributor.clients.ssh import SshSession
from distributor.model.errors import HostError
from distributor.model.hosts import Delivery, SocketAddress
from distributor.targets.router_facts import ENTRY
from tests.contract.router_ssh_rig import router_ssh_rig
from tests.contract.scenarios import (
    DSM,
    FILES_SCENARIOS,
    FTPS,
    ON_HOST,
    ROUTER_SCENARIOS,
    STRANGERS,
    Scenario,
    ours,
    scenario_with_rsa,
)
from tests.contract.ssh_diskstation_box import DiskstationBox, diskstation_box
from tests.contract.ssh_diskstation_rig import Method, SshDiskstationRig
from tests.contract.ssh_files_rig import BASE, ssh_files_rig
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_people import Person, hashed
from tests.e2e.ssh_box_tree import Item, Release
from tests.matrix.cells import SHOWN_AGAIN, Kind, Subject, never_in_a_handshake
from tests.matrix.peers import FakePeer

Command = Sequence[str]
Matches = Callable[[Command], bool]
Run = Callable[..., Result]
_SLOW_SECONDS: Final = 0.5
_IN_VAIN: Final = "/opt/box/in_vain"


def _any(_command: Command) -> bool:
    return True


def _says(*texts: str) -> Matches:
    return lambda command: any(text in word for text in texts for word in command)


def _is_reload(command: Command) -> bool:
    """Tell a command that is no script of the product's, run under its lock."""
    work = "the lock is not held any more"
    return len(command) > 6 and work in command[2] and _RELOADS(command[6:])


_RELOADS: Final = _says("nginx", "synow3tool", "httpd", "./reload")
_LOCK: Final = _says("while ! ln -sn")
_COPY: Final = _says('"$copy.part/index"')
_STAGE: Final = _says("$new: cut short")
_FILES: Final = _says("each stage && each rename")
_IMPORT: Final = _says("method=import")
_SERVICES: Final = _says("api=SYNO.Core.Certificate.Service")
_PORT: Final[Mapping[str, str]] = {
    "handshakes": "handshakes",
    "proving: handshakes": "proving",
    "back: handshakes": SHOWN_AGAIN,
}
_COMMAND: Final[Mapping[str, tuple[str, Matches]]] = {
    "signing in": ("signing in", _any),
    "looking": ("looking", _any),
    "keeping": ("keeping what is there", _any),
    "changing: lock": ("changing", _LOCK),
    "changing: copy": ("changing", _COPY),
    "changing: staging": ("changing", _STAGE),
    "changing: files": ("changing", _FILES),
    "changing: pair": ("changing", _IMPORT),
    "changing: services": ("changing", _SERVICES),
    "reload": ("changing", _is_reload),
    "proving: looking": ("proving", _any),
    "back: signing in": ("putting back", _any),
    "back: services": ("putting back", _SERVICES),
    "back: files": ("putting back", _FILES),
    "back: reload": ("putting back", _is_reload),
    "back: looking": (SHOWN_AGAIN, _any),
}


@dataclass
class _Strike:
    matches: Matches
    act: Callable[[Command, Run], Result]
    is_due: bool = True


@dataclass(kw_only=True)
class SshSubject(Subject):
    """A box with a real sshd, whose commands are met one by one on their way."""

    box: SshBox
    person: Person
    web: "Web"
    middle: int
    """Which of the files that are renamed together is met in the middle."""
    strikes: list[_Strike] = field(default_factory=list)
    peers: list[FakePeer] = field(default_factory=list)
    undo: ExitStack = field(default_factory=ExitStack)
    waiting: FakePeer | None = None
    _refused_before: tuple[int, int] = (0, 0)
    """Passwords that were refused at the login, and by sudo, before this fault."""
    _trapped_at: int = 0
    _gone_then: Callable[[], None] | None = None
    """What becomes of the box once its session was cut in the middle."""

    @property
    def refusals(self) -> Mapping[str, int]:
        login, sudo = self._refused_before
        return {
            "login": self.box.log().count("Failed password") - login,
            "sudo": self.box.read(_IN_VAIN).count(b"refused") - sudo,
        }

    def arm(self, step: str, fault: str) -> None:
        if step.startswith("back"):
            # The box cannot be read when it should prove itself: all of it has to be put back.
            self.hooks["proving"] = partial(self._add, _any, self._garbage, counts=False)
        if step in _PORT:
            self.hooks[_PORT[step]] = partial(self._meet_at_the_port, fault)
        elif step == "changing: middle":
            # One more is renamed before: the folder that the copy is in.
            self.hooks["changing"] = partial(self._meet_in_the_middle, 1 + self.middle, fault)
        elif step == "back: middle":
            self.hooks["putting back"] = partial(self._meet_in_the_middle, self.middle, fault)
        else:
            begins, matches = _COMMAND[step]
            if step.endswith("signing in") and fault in {"down", "password", "identity"}:
                self.hooks[begins] = getattr(self, f"_begin_{fault}")
            else:
                self.hooks[begins] = partial(self._add, matches, getattr(self, f"_{fault}"))

    def heal(self) -> None:
        self.strikes.clear()
        for peer in self.peers:
            peer.close()
        self.peers.clear()
        self.undo.close()
        self._gone_then = None
        self.box.rest()
        self.box.trap("mv", 0, "fail")
        self.web.settle()

    def run(self, session: SshSession, original: Run, command: Command, **more: Any) -> Result:
        """Run a command, or meet it."""
        for strike in self.strikes:
            if strike.is_due and strike.matches(command):
                strike.is_due = False
                return strike.act(command, partial(original, session, **more))
        try:
            result = original(session, command, **more)
        except HostError:
            self._after_a_cut()
            raise
        if result.status is None:
            self._after_a_cut()
        return result

    def _after_a_cut(self) -> None:
        then, self._gone_then = self._gone_then, None
        if then is not None:
            then()

    def _add(
        self,
        matches: Matches,
        act: Callable[[Command, Run], Result],
        *,
        counts: bool = True,
    ) -> None:
        def struck(command: Command, run: Run) -> Result:
            self.struck = self.struck or counts
            return act(command, run)

        self.strikes.append(_Strike(matches, struck))

    # -- at a command --------------------------------------------------------------------------

    def _down(self, command: Command, run: Run) -> Result:
        self._begin_down()
        return run(command)

    def _cut(self, command: Command, run: Run) -> Result:
        self.box.cut()
        return run(command)

    def _lost(self, command: Command, run: Run) -> Result:
        run(command)
        self.box.cut()
        return Result(None, b"", b"")  # it was done, and the answer never came

    def _password(self, command: Command, run: Run) -> Result:
        self._begin_password()
        return run(command)

    def _identity(self, command: Command, run: Run) -> Result:
        self._begin_identity()
        return run(command)

    def _refusal(self, _command: Command, run: Run) -> Result:
        return run(["/bin/sh", "-c", "cat >/dev/null; echo 'No space left on device' >&2; exit 1"])

    def _lie(self, _command: Command, run: Run) -> Result:
        return run(["/bin/sh", "-c", "cat >/dev/null"])

    def _garbage(self, _command: Command, run: Run) -> Result:
        return run(["/bin/sh", "-c", "cat >/dev/null; printf '{\\033[2J\\377 no such'"])

    def _slow(self, command: Command, run: Run) -> Result:
        time.sleep(_SLOW_SECONDS)
        return run(command)

    # -- from a step on ------------------------------------------------------------------------

    def _begin_down(self) -> None:
        self.struck = True
        self.box.cut()
        self.box.rest()
        self.box._ask("stop", name="sshd")
        self.web.stop()
        self.undo.callback(self.web.start)
        self.undo.callback(self.box._start_sshd)

    def _begin_password(self) -> None:
        self.struck = True
        shadow = self.box.read("/etc/shadow").decode()
        self.undo.callback(self._place_shadow, shadow)
        lines = [
            f"{self.person.user}:{hashed('another')}:19000:0:99999:7:::"
            if line.startswith(f"{self.person.user}:")
            else line
            for line in shadow.splitlines()
        ]
        refused = self.box.log().count("Failed password")
        self._refused_before = (refused, self.box.read(_IN_VAIN).count(b"refused"))
        self._place_shadow("\n".join((*lines, "")))

    def _place_shadow(self, text: str) -> None:
        self.box.place(Item(path="/etc/shadow", content=text.encode(), mode=0o600))

    def _begin_identity(self) -> None:
        self.struck = True
        own = self.box._host_keys
        self.undo.callback(self._be, own)
        self.box.cut()
        self.box.change_host_keys()

    def _be(self, keys: Any) -> None:
        self.box._host_keys = keys
        self.box._ask("stop", name="sshd")
        self.box.place(*self.box._host_key_items())
        self.box._start_sshd()

    def _meet_at_the_port(self, fault: str) -> None:
        if self.struck:
            return
        if fault in {"down", "identity"}:
            getattr(self, f"_begin_{fault}")()
        else:
            real_port = self.rig.host.endpoints[0].address.port
            self.waiting = FakePeer(fault, real_port, _SLOW_SECONDS)
            self.peers.append(self.waiting)

    def stand_in(self) -> SocketAddress | None:
        peer, self.waiting = self.waiting, None
        self.struck = self.struck or peer is not None
        return None if peer is None else peer.address

    @property
    def was_struck(self) -> bool:
        return self.struck or 0 < self._trapped_at <= self.box.trapped("mv")

    def _meet_in_the_middle(self, at: int, fault: str) -> None:
        """Let it happen while half of the files are in place."""
        ways = {"cut": "die", "lost": "cut", "refusal": "fail", "down": "die", "identity": "die"}
        self._trapped_at = at
        self.box.trap("mv", at, ways[fault])  # type: ignore[arg-type]  # one of its words
        if fault in {"down", "identity"}:
            self._gone_then = getattr(self, f"_begin_{fault}")


@dataclass(frozen=True, slots=True)
class Web:
    """The web server of a box, as a power cut and a start of the box treat it."""

    stop: Callable[[], object]
    start: Callable[[], object]
    settle: Callable[[], object]
    """Waits until it serves what it should."""


class SshKind(Kind):
    outlasts = frozenset({"slow"})
    proves_within = 1.5
    box: SshBox
    ours: ClassVar[frozenset[str]]

    @contextmanager
    def open(self, folder: Path) -> Iterator[Subject]:
        with self.subject(folder) as subject, pytest.MonkeyPatch.context() as patch:
            original = SshSession.run

            def met(session: SshSession, command: Command, **more: Any) -> Result:
                return subject.run(session, original, command, **more)

            patch.setattr(SshSession, "run", met)
            try:
                yield subject
            finally:
                subject.heal()

    @abstractmethod
    def subject(self, folder: Path) -> AbstractContextManager[SshSubject]:
        """Give a box, put back to what the scenario says."""


_NGINX_STOP: Final = ". /opt/box/lib.sh; nginx_stop"
_STOP: Final = 'pid=$(cat "{}") && kill "$pid" && while kill -0 "$pid"; do sleep 0.05; done'
_HTTPD_STOP: Final = _STOP.format("/run/httpd/httpd-sys.pid")
_PROXY_STOP: Final = _STOP.format(f"{BASE}/run/nginx.pid")
_NOTED: Final = '#!/bin/sh\nread -r given; [ -z "$given" ] || echo refused >>/opt/box/in_vain\n'
_SUDO: Final = """\
auth sufficient pam_unix.so nodelay
auth optional pam_exec.so quiet expose_authtok /opt/box/noted
auth required pam_deny.so
account required pam_unix.so
session required pam_permit.so
"""


def _count_what_sudo_refuses(box: SshBox) -> None:
    """Note each password that sudo is given in vain; that it asks once more is not counted."""
    box.place(
        Item(path=_IN_VAIN, content=b"", mode=0o666),
        Item(path="/opt/box/noted", content=_NOTED.encode(), mode=0o755),
        Item(path="/etc/pam.d/sudo", content=_SUDO.encode(), mode=0o644),
    )


_FILES_REPLACED: Final = Scenario(
    name="one entry replaced that two services use",
    placed=(*STRANGERS, ours(services=(DSM, FTPS))),
    proved={DSM: "wild"},
)
_MOVED: Final = Scenario(
    name="one entry replaced, and a service moved to it",
    placed=(*STRANGERS, ours()),
    deliveries=(Delivery(certificate="wild", services=(FTPS,)),),
    proved={DSM: "wild"},
)
_FILES_WORK: Final = replace(FILES_SCENARIOS[1], proved={ON_HOST: "wild"})
_MIDDLE: Final = (
    "the script answers once, when all files are in place: see the row above",
    "sudo asks when a command begins, and not in its midst",
)
_SSH_NEVER: Final[Mapping[tuple[str, str], str]] = {
    **never_in_a_handshake(_PORT),
    **{
        (f"{when}: middle", fault): _MIDDLE[fault == "password"]
        for when in ("changing", "back")
        for fault in ("password", "lie", "garbage", "slow")
    },
}
_NOTHING_IN_VAIN: Final = (
    "nothing is asked of the host: the copy is made there, under the lock, as the next rows have it"
)
_AS_ROOT: Final = "root is signed in and needs no sudo: no password is sent any more"
_SSH_STEPS: Final[Mapping[str, str]] = {
    "handshakes": "handshakes",
    "signing in": "signing in",
    "looking": "looking: the files",
    "keeping": "keeping what is there: the old pair",
    "changing: lock": "changing: taking the lock",
    "changing: copy": "changing: copying the old files on the host",
    "changing: staging": "changing: writing the new contents",
    "changing: files": "changing: putting the files in place",
    "changing: middle": "changing: in the midst of that",
    "changing: pair": "changing: DSM's import",
    "changing: services": "changing: DSM moves a service",
    "reload": "reload",
    "proving: handshakes": "proving: handshakes",
    "proving: looking": "proving: looking again",
    "back: signing in": "putting back: signing in anew",
    "back: services": "putting back: moving the service back",
    "back: files": "putting back: the files",
    "back: middle": "putting back: in the midst of that",
    "back: reload": "putting back: reload",
    "back: handshakes": "putting back: handshakes",
    "back: looking": "putting back: looking again",
}
_BY_DSM: Final = frozenset({"changing: pair", "changing: services", "back: services"})
_BY_FILES: Final = frozenset({"changing: files", "changing: middle", "reload"})


def _steps(without: frozenset[str]) -> Mapping[str, str]:
    return {step: words for step, words in _SSH_STEPS.items() if step not in without}


class DiskstationBySsh(SshKind):
    ours: ClassVar[frozenset[str]] = frozenset({"known1"})
    never = _SSH_NEVER
    steps = _steps(_BY_DSM)
    release: ClassVar[Release]
    method: ClassVar[Method] = "files"
    scenario: ClassVar[Scenario] = _FILES_REPLACED
    box: DiskstationBox

    @contextmanager
    def ready(self, folder: Path) -> Iterator[None]:
        with diskstation_box(folder / "box", self.release) as self.box:
            _count_what_sudo_refuses(self.box)
            yield

    @contextmanager
    def subject(self, folder: Path) -> Iterator[SshSubject]:
        box = self.box
        box.place_scenario(self.scenario)
        rig = SshDiskstationRig(box, self.scenario, folder, method=self.method, login="password")
        web = Web(
            stop=lambda: box.run("/bin/sh", "-c", _NGINX_STOP),
            start=box.restart_web,
            settle=partial(box.settle, 10.0),
        )
        ours = frozenset({*self.ours, *rig.along(self.ours)})
        yield SshSubject(rig=rig, ours=ours, box=box, person=box.admin, web=web, middle=6)


class Diskstation62(DiskstationBySsh):
    name = "diskstation-ssh-62"
    title = "DiskStation by SSH, its files (DSM 6.2)"
    release = "dsm62"
    scenario = scenario_with_rsa(_FILES_REPLACED)


class Diskstation72(DiskstationBySsh):
    name = "diskstation-ssh-72"
    title = "DiskStation by SSH, its files (DSM 7.2)"
    release = "dsm72"


class DiskstationSynowebapi(DiskstationBySsh):
    name = "diskstation-ssh-synowebapi"
    title = "DiskStation by SSH, DSM's own calls (synowebapi, DSM 7.3)"
    release = "dsm73"
    method = "synowebapi"
    scenario = _MOVED
    steps = _steps(_BY_FILES)


class PemKind(SshKind):
    """Hosts whose files are as the rig around them says."""

    release: ClassVar[Release]

    @contextmanager
    def ready(self, folder: Path) -> Iterator[None]:
        with SshBox(folder / "box", self.release) as self.box:
            # BusyBox's own shell runs its own tools, which no trap could stand in for.
            self.box.place(Item(path="/usr/bin/sh", link="/opt/box/host/bin/dash"))
            self.box.place(Item(path=_IN_VAIN, content=b"", mode=0o666))
            if self.release != "srm13":
                _count_what_sudo_refuses(self.box)
            yield


class RouterBySsh(PemKind):
    name = "router-ssh"
    title = "Router by SSH (SRM 1.3)"
    release = "srm13"
    ours = frozenset({ENTRY.id})
    steps = _steps(_BY_DSM)
    never: Mapping[tuple[str, str], str] = {
        **_SSH_NEVER,
        ("keeping", "*"): _NOTHING_IN_VAIN,
        ("looking", "password"): _AS_ROOT,
        ("changing*", "password"): _AS_ROOT,
        ("reload", "password"): _AS_ROOT,
        ("proving: looking", "password"): _AS_ROOT,
        ("back: files", "password"): _AS_ROOT,
        ("back: reload", "password"): _AS_ROOT,
        ("back: looking", "password"): _AS_ROOT,
    }

    @contextmanager
    def subject(self, folder: Path) -> Iterator[SshSubject]:
        box = self.box
        with router_ssh_rig(box, scenario_with_rsa(ROUTER_SCENARIOS[2]), folder) as rig:
            web = Web(
                stop=lambda: box.run("/bin/sh", "-c", _HTTPD_STOP),
                start=box.restart_web,
                settle=rig.served,
            )
            yield SshSubject(rig=rig, ours=self.ours, box=box, person=box.root, web=web, middle=2)


class PemFilesBySsh(PemKind):
    name = "files-ssh"
    title = "PEM files by SSH (nginx, by sudo)"
    release = "dsm72"
    steps = _steps(_BY_DSM)
    ours = frozenset()
    never: Mapping[tuple[str, str], str] = {**_SSH_NEVER, ("keeping", "*"): _NOTHING_IN_VAIN}

    @contextmanager
    def subject(self, folder: Path) -> Iterator[SshSubject]:
        box = self.box
        with ssh_files_rig(box, _FILES_WORK, folder, "sudo") as rig:
            web = Web(
                stop=lambda: box.run("/bin/sh", "-c", _PROXY_STOP),
                start=lambda: box.run("/bin/sh", "-c", rig.proxy.reload),
                settle=rig.served,
            )
            ours = frozenset(rig.held)
            yield SshSubject(rig=rig, ours=ours, box=box, person=box.admin, web=web, middle=2)


SSH_KINDS: Final = (
    Diskstation62(),
    Diskstation72(),
    DiskstationSynowebapi(),
    RouterBySsh(),
    PemFilesBySsh(),
)
