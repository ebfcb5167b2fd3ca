"""A rig around PEM files on a virtual box, and a real nginx that was told to read them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

from distributor.model.bundle import Bundle
from distributor.model.hosts import Endpoint, Host, PemPaths, SocketAddress
from distributor.targets.contract import Target
from distributor.targets.pem_files import pem_files
from distributor.targets.ssh_files import SshFiles
from tests.contract.scenarios import FilesScenario
from tests.contract.ssh_rig import CONTROLLER, SshRig
from tests.contract.target_laws import Raw, RawEntry
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_ports import free_ports
from tests.e2e.ssh_box_tree import Item

BASE: Final = "/volume1/docker/it's a proxy"
CERTS: Final = f"{BASE}/certs"
DECOY: Final = f"{CERTS}/other.pem"
KEEPER: Final = 1026
USERS: Final = 100
Login = Literal["owner", "sudo", "silent", "root"]
"""Who signs in: by key as the owner of the files, who has no password to give to sudo; as somebody
who gives sudo a password, or need not; as root."""

_CONF: Final = """\
{user}
worker_processes 1;
pid "{base}/run/nginx.pid";
error_log "{base}/run/error.log";
events {{ worker_connections 64; }}
http {{
  access_log off;
  ssl_session_cache off;
  client_body_temp_path "{base}/run"; proxy_temp_path "{base}/run";
  fastcgi_temp_path "{base}/run"; uwsgi_temp_path "{base}/run"; scgi_temp_path "{base}/run";
  ssl_certificate "{full}"; ssl_certificate_key "{key}";
  server {{ listen 127.0.0.1:{one} ssl; listen 127.0.0.1:{two} ssl; return 204; }}
}}
"""
# nginx reloads in its own time, and starts when it does not run; whoever calls this waits for it.
_RELOAD: Final = """\
#!/bin/sh
echo called >>run/reloads
pid=$(cat run/nginx.pid 2>/dev/null)
if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
  exec /usr/sbin/nginx -c "$PWD/nginx.conf"
fi
/usr/sbin/nginx -t -q -c "$PWD/nginx.conf" || exit 1
kill -HUP "$pid"
"""

_STOP: Final = 'pid=$(cat nginx.pid) && kill "$pid" && while kill -0 "$pid"; do sleep 0.05; done'


@dataclass(frozen=True, slots=True)
class Proxy:
    """The program on the box that uses the files."""

    box: SshBox
    login: Login
    ports: tuple[int, int]

    @property
    def owner(self) -> int:
        return KEEPER if self.login == "owner" else 0

    @property
    def group(self) -> int:
        return USERS if self.login == "owner" else 0

    def place(self, scenario: FilesScenario) -> None:
        """Put there what the scenario has, a stranger's file beside it, and start nginx."""
        full = scenario.paths.fullchain or scenario.paths.combined or ""
        key = scenario.paths.private_key or scenario.paths.combined or ""
        conf = _CONF.format(
            user="" if self.owner else "user http http;",
            base=BASE,
            full=f"{CERTS}/{full}",
            key=f"{CERTS}/{key}",
            one=self.ports[0],
            two=self.ports[1],
        )
        own = partial(Item, uid=self.owner, gid=self.group)
        self.box.place(
            own(path=BASE, mode=0o755),
            own(path=CERTS, mode=0o755),
            own(path=f"{BASE}/run", mode=0o700),
            own(path=f"{BASE}/nginx.conf", content=conf.encode(), mode=0o644),
            own(path=f"{BASE}/reload", content=_RELOAD.encode(), mode=0o755),
            own(path=DECOY, content=b"somebody else's", mode=0o640),
            *(
                own(path=f"{CERTS}/{name}", content=content, mode=0o600)
                for name, content in scenario.there.items()
            ),
        )
        self.box.run("/bin/sh", "-c", self.reload, user=f"{self.owner}:{self.group}")

    @property
    def reload(self) -> str:
        return f'cd "{BASE}" && ./reload'

    def clear(self) -> None:
        """End nginx, and take everything away."""
        stop = (
            f'pid=$(cat "{BASE}/run/nginx.pid") && kill "$pid" && while kill -0 "$pid"; do :; done'
        )
        self.box.run("/bin/sh", "-c", stop)
        self.box.remove(BASE)


class SshFilesRig(SshRig):
    scenario: FilesScenario

    def __init__(self, proxy: Proxy, scenario: FilesScenario, folder: Path) -> None:
        super().__init__(proxy.box, scenario, folder)
        self.proxy = proxy
        box = proxy.box
        who = {"owner": box.admin, "sudo": box.admin, "silent": box.silent, "root": box.root}
        self.host = Host(
            name="docker",
            kind="files",
            via="ssh",
            address="127.0.0.1",
            access=self.access(who[proxy.login], by="password" if proxy.login == "sudo" else "key"),
            deliveries=scenario.deliveries,
            endpoints=tuple(
                Endpoint(address=SocketAddress("127.0.0.1", port), certificate=certificate)
                for port, certificate in zip(proxy.ports, scenario.proved.values(), strict=False)
            ),
            files=_at(scenario.paths, proxy.reload),
        )

    @property
    def held(self) -> Sequence[str]:
        assert self.host.files is not None
        files = pem_files(self.host.files)
        order = ("fullchain", "combined", "leaf", "chain", "private_key")
        return [file.path for file in sorted(files, key=lambda one: order.index(one.role))]

    @property
    def around(self) -> str:
        return CERTS

    @property
    def reloads(self) -> int:
        """How often the reload command ran."""
        return self.box.read(f"{BASE}/run/reloads").count(b"called")

    @property
    def writes(self) -> int:
        return super().writes + self.reloads - 1  # nginx was started by it

    def fullchain(self, held: Mapping[str, bytes]) -> bytes:
        return held[self.held[0]]

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        assert self.host.files is not None
        file = next(one for one in pem_files(self.host.files) if one.path == entry_id)
        self.overwrite(entry_id, file.content(bundle))
        # As long as not all of them are replaced nginx says no, and goes on.
        self.box.run(
            "/bin/sh", "-c", self.proxy.reload, user=f"{self.proxy.owner}:{self.proxy.group}"
        )

    def target(self) -> Target:
        return SshFiles(
            self.host, self.connect, lambda: datetime.now(UTC), controller=lambda: CONTROLLER
        )

    def raw(self) -> Raw:
        self.rest()
        facts = self.box.files(self.around)
        assert self.host.files is not None
        roles = {file.path: file.role for file in pem_files(self.host.files)}
        entries = {}
        for path in self.held:
            if path in facts:
                leaf, chain, key = self.pem(path)
                if roles[path] == "chain":
                    leaf, chain = "", (leaf, *chain)
                entries[path] = RawEntry(path, leaf, chain, key, more=facts[path])
        return Raw(entries=entries, bindings={}, default=None, others=self.surroundings())


@contextmanager
def ssh_files_rig(
    box: SshBox, scenario: FilesScenario, folder: Path, login: Login
) -> Iterator[SshFilesRig]:
    """Give a host whose files are as the scenario says, and are served where they can be."""
    one, two = free_ports(2)
    proxy = Proxy(box, login, (one, two))
    proxy.place(scenario)
    rig = SshFilesRig(proxy, scenario, folder)
    try:
        yield rig
    finally:
        rig.rest()
        rig.close()
        proxy.clear()


def _at(paths: PemPaths, reload: str) -> PemPaths:
    """Return the paths with their folder."""
    names = {
        role: f"{CERTS}/{name}"
        for role in ("fullchain", "leaf", "chain", "private_key", "combined")
        if (name := getattr(paths, role)) is not None
    }
    return replace(paths, reload=reload, **names)
