"""A rig around a virtual box that is reached by SSH: real sshd, real web server, real files."""

import contextlib
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509

from distributor.access import Logins, host_key_trust_for
from distributor.clients.shell import Result
from distributor.clients.ssh import SshSession
from distributor.clients.tls import probe
from distributor.model.bundle import describe, fits, spki_fingerprint_of_key
from distributor.model.endpoints import Served
from distributor.model.errors import BundleError
from distributor.model.hosts import PlainSecret, SshAccess
from distributor.model.pem import certificates_from, private_key_from
from distributor.model.secret import Secret
from distributor.store import Store
from distributor.targets.remote_lock import Controller
from tests.contract.scenarios import Scenario
from tests.contract.target_laws import Counted, Rig, When
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_tree import Item

CONTROLLER = Controller("0123456789abcdef", "controller")
OURS = ".distribute"
_REST_SECONDS = 10.0
_CAT = "/usr/bin/cat"
_HIDING = """\
#!/opt/box/host/bin/dash
for path in "$@"; do
  case $path in
  PATHS) echo "cat: $path: Input/output error" >&2; exit 1 ;;
  esac
done
exec CAT "$@"
"""


class SshRig(Rig):
    """What boxes behind a shell have in common; a kind adds its host, its driver and its files."""

    def __init__(self, box: SshBox, scenario: Scenario, folder: Path) -> None:
        self.box = box
        self.scenario = scenario
        self.store = Store(folder)
        self._nth, self._when, self._counted = 0, "before", "writes"
        self._requests = 0
        self._made_before = 0
        self._cat: str | None = None
        box.trap("mv", 0, "fail")

    @property
    @abstractmethod
    def held(self) -> Sequence[str]:
        """The paths of the certificate files, those with a leaf first."""

    @property
    @abstractmethod
    def around(self) -> str:
        """The folder that everything is in which a delivery could touch."""

    @abstractmethod
    def fullchain(self, held: Mapping[str, bytes]) -> bytes:
        """What a server sends that has read these files."""

    @property
    def writes(self) -> int:
        return self._made_before + self.box.trapped("mv")

    def access(self, who: Person, *, by: str) -> SshAccess:
        """How `who` logs in, by key or password; the latter is sudo's, too."""
        secret = who.password if by == "password" else (who.key_file or Path()).read_text()
        plain = PlainSecret(Secret(secret))
        return SshAccess(
            port=self.box.ports["ssh"],
            user=who.user,
            password=plain if by == "password" else None,
            identity=plain if by == "key" else None,
            host_key=self.box.host_keys["ed25519"],
        )

    def connect(self) -> SshSession:
        """A session as a run makes it, with an ear on each of its commands."""
        access = self.host.access
        assert isinstance(access, SshAccess)
        trust = host_key_trust_for(self.host, access, self.store)
        session = Logins(self.store).ssh(self.host, access, trust)
        run = session.run

        def counted(*arguments: Any, **more: Any) -> Result:
            self._requests += 1
            is_it = self._counted == "requests" and self._requests == self._nth
            if is_it and self._when == "before":
                self.box.cut()
            result = run(*arguments, **more)
            if is_it and self._when == "after":
                self.box.cut()
                return Result(None, b"", b"")
            return result

        session.run = counted  # type: ignore[method-assign]  # to count and to cut
        return session

    def rest(self) -> None:
        """Wait until no command runs, whoever is signed in: after a cut, a script goes on."""
        deadline = time.monotonic() + _REST_SECONDS
        while any(not name.startswith("sshd") for name in self.box.busy()):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def served(self) -> tuple[Served, ...]:
        self.rest()
        deadline = time.monotonic() + _REST_SECONDS
        while True:
            shown = tuple(map(probe, self.host.endpoints))
            if time.monotonic() > deadline or self._is_at_rest(shown):
                return shown
            time.sleep(0.02)

    def meddle(self, service: str | None) -> None:
        assert service is None, "it has no services"

    @property
    def proved_ids(self) -> frozenset[str]:
        return frozenset()

    def overwrite(self, path: str, content: bytes) -> None:
        """Let somebody write to a file, whose owner and mode stay."""
        self.box.place(Item(path=f"{path}.since", content=content, mode=0o600))
        words = ("/bin/sh", "-c", 'cat "$1.since" >"$1" && rm "$1.since"', "sh", path)
        assert self.box.run(*words).returncode == 0

    def cut(self, nth: int, when: When, counted: Counted) -> None:
        self._nth, self._when, self._counted = nth, when, counted
        self._requests = 0
        if counted == "writes":
            self._made_before = self.writes
            self.box.trap("mv", nth, "die" if when == "before" else "cut")

    def heal(self) -> bool:
        self.rest()
        if self._counted == "requests":
            was_cut = self._requests >= self._nth
        else:
            was_cut = self.box.trapped("mv") >= self._nth
            self._made_before = self.writes
            self.box.trap("mv", 0, "fail")
        self._nth = 0
        return was_cut

    def hide(self, entry_id: str) -> None:
        del entry_id  # they lie on one disk, and are read by one tool
        if self._cat is None:
            self._cat = self.box.run("/usr/bin/readlink", "-f", _CAT).stdout.decode().strip()
            text = _HIDING.replace("PATHS", "|".join(self.held)).replace("CAT", self._cat)
            self.box.place(Item(path=_CAT, content=text.encode()))

    def stop(self) -> None:
        """Let nothing of it be reached; the box itself is for the next rig, too."""
        self.host = replace(self.host, access=replace(self.host.access, port=1))

    def secrets(self) -> Iterable[str]:
        people = (self.box.root, self.box.admin, self.box.silent, self.box.visitor)
        keys = [line for one in people if one.key_file for line in one.key_file.read_text().split()]
        return {*(one.password for one in people), *(line for line in keys if len(line) > 60)}

    def urls(self) -> Iterable[str]:
        return ()

    def close(self) -> None:
        """Take everything back that the next rig on this box does not expect."""
        if self._cat is not None:
            self.box.place(Item(path=_CAT, link=self._cat))
        self.box.trap("mv", 0, "fail")

    def pem(self, path: str) -> tuple[str, tuple[str, ...], str]:
        """Leaf, chain and key of a file; empty for what it has not."""
        content = self.box.read(path)
        leaf, chain, key = "", tuple[str, ...](), ""
        with contextlib.suppress(BundleError):
            told = describe(certificates_from(content, path), "")
            leaf, chain = told.leaf, told.chain
        with contextlib.suppress(BundleError):
            key = spki_fingerprint_of_key(private_key_from(content, path))
        return leaf, chain, key

    def surroundings(self) -> Mapping[str, object]:
        """Every other file around, as it is; what is ours alone does not count."""
        found = self.box.files(self.around)
        return {
            path: facts
            for path, facts in found.items()
            if path not in self.held and f"/{OURS}" not in path
        }

    def _is_at_rest(self, shown: Sequence[Served]) -> bool:
        """Whether the ports show what the files hold; a server takes a moment to reload."""
        files = self.box.files(self.around)
        held = {path: self.box.read(path) for path in self.held if path in files}
        leaf = next(iter(_leaves(held.values())), None)
        if leaf is None or not _fit(leaf, held.values()):
            return True  # with these no server starts, and one that runs keeps what it has
        wanted = describe(certificates_from(self.fullchain(held), ""), "")
        return all(
            one.certificate is not None
            and (one.certificate.leaf, one.certificate.chain) == (wanted.leaf, wanted.chain)
            for one in shown
        )


def _leaves(contents: Iterable[bytes]) -> Iterator[x509.Certificate]:
    for content in contents:
        with contextlib.suppress(BundleError):
            yield certificates_from(content, "")[0]


def _fit(leaf: x509.Certificate, contents: Iterable[bytes]) -> bool:
    keys = []
    for content in contents:
        with contextlib.suppress(BundleError):
            keys.append(private_key_from(content, ""))
    return bool(keys) and all(fits(key, leaf) for key in keys)
