"""A Linux host with a proxy that reads PEM files, and a controller that brings them by SSH."""

import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from distributor.model.bundle import fingerprint
from tests.certs import DAY, NOW, Authority, Issued, pem
from tests.e2e.sshd import Sshd, User, free_port, make_key
from tests.integration.cli.house import Ran, run, verified_leaf

NAMES: Final = ("example.test", "*.example.test")
APP: Final = "app.example.test"
BASE: Final = "/run/proxy"
FULL, KEY = f"{BASE}/certs/full.pem", f"{BASE}/certs/key.pem"
RELOAD: Final = f"/usr/sbin/nginx -c {BASE}/nginx.conf -s reload && echo done >>{BASE}/reloads"
_SECONDS: Final = 10.0

# The proxy's own user runs it, owns the files, and may not become root.
_CONF: Final = """\
worker_processes 1;
pid {base}/nginx.pid;
error_log {base}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  ssl_session_cache off;
  client_body_temp_path {base}; proxy_temp_path {base}; fastcgi_temp_path {base};
  uwsgi_temp_path {base}; scgi_temp_path {base};
  ssl_certificate {base}/certs/full.pem; ssl_certificate_key {base}/certs/key.pem;
  server {{ listen 127.0.0.1:{port} ssl; return 204; }}
}}
"""
# While it reloads, nginx has workers of both ages, and either may take a connection.
_WORKERS: Final = f"p=$(cat {BASE}/nginx.pid); cat /proc/$p/task/$p/children"


@dataclass
class ProxyHouse:
    """The host `docker`, its inventory, and certificates from a CA."""

    folder: Path
    sshd: Sshd
    issuer: Authority
    port: int = field(default_factory=free_port)

    @classmethod
    def users(cls, folder: Path) -> list[User]:
        """Who may log in: the proxy's user and, with a password for sudo, somebody else."""
        keys = {name: make_key(folder / f"id_{name}") for name in ("web", "other", "root")}
        return [
            User("web", authorized_keys=[keys["web"]], sudo="none"),
            User("root", authorized_keys=[keys["root"]], sudo="none"),
            User("other", password="other's words", authorized_keys=[keys["other"]]),
        ]

    def begin(self, served: Issued) -> None:
        """Let the proxy run with a certificate, and write the inventory."""
        self.root.write_bytes(pem(self.issuer.root))
        conf = _CONF.format(base=BASE, port=self.port)
        self.sshd.as_root(f"mkdir -p -m 755 {BASE}/certs")
        self.put(f"{BASE}/nginx.conf", conf.encode())
        self.place(served)
        self.sshd.as_root(
            f"chown -R web:users {BASE}; {self.as_web(f'nginx -c {BASE}/nginx.conf')}"
        )
        self.write_inventory()

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def as_web(self, command: str) -> str:
        uid = "--reuid=$(id -u web) --regid=$(id -g web) --clear-groups"
        return f"setpriv {uid} /bin/sh -c {shlex.quote(command)}"

    def put(self, path: str, content: bytes, mode: str = "600", owner: str = "web:users") -> None:
        where = shlex.quote(path)
        script = f"cat >{where} && chmod {mode} {where} && chown {owner} {where}"
        self.sshd.as_root(script, content)

    def place(self, pair: Issued) -> None:
        self.put(FULL, pair.fullchain_pem)
        self.put(KEY, pair.private_key_pem)

    def issue(self, *, days_left: int = 60) -> Issued:
        return self.issuer.issue(NAMES, not_after=NOW + days_left * DAY)

    def obtain(self, pair: Issued) -> str:
        """Let another program on the controller have a certificate; return its leaf."""
        for name, content in (("full.pem", pair.fullchain_pem), ("key.pem", pair.private_key_pem)):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        return leaf_of(pair)

    def write_inventory(self, **more: str) -> None:
        """Write it; `more` are keys of the host as TOML, instead of the usual ones or beside."""
        keys = {
            "user": '"web"',
            "identity": '{ file = "id_web" }',
            "fullchain": f'"{FULL}"',
            "private_key": f'"{KEY}"',
            "reload": f'"{RELOAD}"',
            "endpoints": f'[{{ address = "127.0.0.1:{self.port}", server_name = "{APP}" }}]',
            **more,
        }
        text = [
            "[certificates.home]",
            'source = "files"',
            'certificate = "full.pem"',
            'private_key = "key.pem"',
            f"ca_bundle = '{self.root}'",
            "[hosts.docker]",
            'kind = "files"',
            'via = "ssh"',
            'address = "127.0.0.1"',
            f"port = {self.sshd.port}",
            f'host_key = "{self.sshd.host_key_fingerprint}"',
            'certificate = "home"',
            *(f"{key} = {value}" for key, value in keys.items() if value),
        ]
        path = self.folder / "inventory.toml"
        path.touch(mode=0o600)
        path.write_text("\n".join(text) + "\n", encoding="utf-8")

    def run(self, *arguments: str) -> Ran:
        state = str(self.folder / "state")
        return run("-i", str(self.folder / "inventory.toml"), "--state", state, *arguments)

    def deliver(self, *arguments: str) -> Ran:
        return self.run("--json", "--all", *arguments)

    @property
    def reloads(self) -> int:
        return self.sshd.as_root(f"cat {BASE}/reloads 2>/dev/null; :").count("done")

    def files(self) -> dict[str, tuple[str, str]]:
        """Each file and folder of the proxy but ours: what `ls` says of it, and its content."""
        script = (
            f"find {BASE}/certs -path '*/.distribute*' -prune -o -printf '%p\\t%M %u:%g\\t%i\\n'"
        )
        told = self.sshd.as_root(script).splitlines()
        parts = [line.split("\t") for line in told]
        return {
            path: (rights, self.read(path) if rights.startswith("-") else "")
            for path, rights, _ in parts
        }

    def read(self, path: str) -> str:
        return self.sshd.as_root(f"cat {shlex.quote(path)}")

    def serves(self, leaf: str) -> bool:
        """Whether the proxy comes to serve a leaf, and that alone, with a chain that verifies."""
        deadline = time.monotonic() + _SECONDS
        while (
            verified_leaf("127.0.0.1", self.port, APP, self.root) != leaf
            or len(self.sshd.as_root(_WORKERS).split()) > 1
        ):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def leaf_of(pair: Issued) -> str:
    return fingerprint(pair.leaf)
