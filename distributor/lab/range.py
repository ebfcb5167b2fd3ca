"""A whole range on loopback: nameserver, CA, virtual boxes, and the inventory of them."""

import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from distributor.lab.accounts import Account
from distributor.lab.authority import Authority, Engine
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import DSM72, Profile
from distributor.lab.nameserver import Nameserver
from distributor.lab.proxy import Proxy

ZONE: Final = "example.test"
NAMES: Final = ("attic", "cellar", "garage", "office", "studio", "kitchen", "library", "workshop")
ROUTER: Final = "router"
PROXY: Final = "proxy"
USER: Final = "certs"
_KEY_NAME: Final = "acme-key"


class Range:
    """Servers that listen on loopback as long as the context lasts, and the files to use them.

    `folder` gets `inventory.toml`, the passwords and the TSIG key, readable by the owner alone.
    `profiles` says what each box is instead of `boxes` DiskStations alike; one may be a router.
    `with_proxy` adds a host with PEM files that is reached by SSH; on it, commands run as on any
    host with Linux, which therefore this computer has to be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        boxes: int = 5,
        engine: Engine | None = None,
        note: Callable[[str], None] = lambda _line: None,
        profiles: Sequence[Profile] | None = None,
        with_proxy: bool = False,
    ) -> None:
        chosen = (DSM72,) * boxes if profiles is None else tuple(profiles)
        if not 1 <= len(chosen) <= len(NAMES):
            raise ValueError(f"a range has 1 to {len(NAMES)} boxes")
        if sum(map(_is_router, chosen)) > 1:
            raise ValueError("a range has one router at most")
        self.folder = folder
        self.inventory = folder / "inventory.toml"
        self.state = folder / "state"
        self.boxes: dict[str, DiskStation] = {}
        self.proxy: Proxy | None = None
        self.nameserver: Nameserver | None = None
        self._with_proxy = with_proxy
        names = iter(NAMES)
        self._profiles = {ROUTER if _is_router(one) else next(names): one for one in chosen}
        self._engine = engine
        self._note = note
        self._running = ExitStack()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts of the inventory, in its order."""
        return (*self.boxes, *([PROXY] if self.proxy is not None else []))

    def __enter__(self) -> Self:
        """Start everything; what was started is stopped again when that fails."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as starting:
            secret = b64encode(secrets.token_bytes(32)).decode("ascii")
            nameserver = starting.enter_context(
                Nameserver([ZONE], key_name=_KEY_NAME, key_secret=secret)
            )
            self.nameserver = nameserver
            host, port = nameserver.address
            self._note(f"nameserver for {ZONE} at {host}:{port}")
            authority = starting.enter_context(
                Authority(dns=nameserver.address, folder=self.folder / "ca", engine=self._engine)
            )
            self._note(f"CA ({authority.engine}) at {authority.directory_url}")
            for name, profile in self._profiles.items():
                password = secrets.token_urlsafe(18)
                self._write(f"{name}.password", password + "\n")
                box = DiskStation(name, profile=profile, accounts=[Account(USER, password)])
                self.boxes[name] = starting.enter_context(box)
                nameserver.put(f"{name}.{ZONE}", "A", box.address)
                what = "router" if _is_router(profile) else "DiskStation"
                self._note(f"{what} {name} ({profile.name}) at https://{box.address}:{box.port}")
            if self._with_proxy:
                password = secrets.token_urlsafe(18)
                self._write(f"{PROXY}.password", password + "\n")
                made = Proxy(self.folder / PROXY, factory_certificate(PROXY), password=password)
                self.proxy = proxy = starting.enter_context(made)
                nameserver.put(f"{PROXY}.{ZONE}", "A", proxy.address)
                where = f"https://{proxy.address}:{proxy.port}, SSH at port {proxy.ssh_port}"
                self._note(f"web server {PROXY} with PEM files at {where}")
            self._write("tsig.key", secret + "\n")
            self._write("inventory.toml", self._inventory(authority, f"{host}:{port}"))
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    def _inventory(self, authority: Authority, nameserver: str) -> str:
        return "\n".join(
            [
                "# Written by the lab; everything in it listens on loopback.",
                "[acme]",
                f'ca = "{authority.directory_url}"',
                'email = "admin@example.test"',
                "agree_tos = true",
                f"ca_bundle = '{authority.ca_bundle}'",
                "",
                "[dns.home]",
                'provider = "rfc2136"',
                f'server = "{nameserver}"',
                f'key_name = "{_KEY_NAME}"',
                'key_algorithm = "hmac-sha256"',
                'key = { file = "tsig.key" }',
                f'nameservers = ["{nameserver}"]',
                f'resolvers = ["{nameserver}"]',
                'propagation_timeout = "30s"',
                "",
                "[certificates.home]",
                'source = "acme"',
                f'names = ["{ZONE}", "*.{ZONE}"]',
                'dns = "home"',
                f"ca_bundle = '{authority.root}'",
                "",
                "[defaults]",
                f'user = "{USER}"',
                'certificate = "home"',
                "",
                *(line for name in self._profiles for line in self._host(name)),
                *(_proxy_lines(self.proxy) if self.proxy is not None else []),
            ]
        )

    def _host(self, name: str) -> list[str]:
        box = self.boxes[name]
        named = f'server_name = "{name}.{ZONE}"'
        others = [
            f'  {{ address = "{box.address}:{port}", {named}, service = "{service}" }},'
            for service, port in box.service_ports.items()
        ]
        return [
            f"[hosts.{name}]",
            f'kind = "{"router" if _is_router(box.profile) else "diskstation"}"',
            'via = "api"',
            f'address = "{box.address}"',
            f"port = {box.port}",
            f'password = {{ file = "{name}.password" }}',
            'tags = ["lab"]',
            "endpoints = [",
            f'  {{ address = "{box.address}:{box.port}", {named} }},',
            *others,
            "]",
            "",
        ]


def _proxy_lines(proxy: Proxy) -> list[str]:
    return [
        f"[hosts.{PROXY}]",
        'kind = "files"',
        'via = "ssh"',
        f'address = "{proxy.address}"',
        f"port = {proxy.ssh_port}",
        f'password = {{ file = "{PROXY}.password" }}',
        f"fullchain = '{proxy.fullchain}'",
        f"private_key = '{proxy.private_key}'",
        f'reload = "{proxy.reload}"',
        'tags = ["lab"]',
        "endpoints = [",
        f'  {{ address = "{proxy.address}:{proxy.port}", server_name = "{PROXY}.{ZONE}" }},',
        "]",
        "",
    ]


def _is_router(profile: Profile) -> bool:
    return profile.system == "srm"
