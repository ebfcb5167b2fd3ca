"""The system below a virtual box: tools, and the texts that configure sshd, sudo and web server."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.ssh_box_tree import LAYER, Entry, Item, Release, Service, lines_of

_HOST: Final = "opt/box/host"
_OPENSSH_WITH_PENALTIES: Final = (9, 8)
_SYSTEM_FOLDERS: Final = "/usr/bin:/usr/sbin"

# What a DiskStation has of the usual tools (dsm-ssh 3.4 names base64, tee, install, mktemp,
# sha256sum, stat, flock, jq and openssl for 6.2.3; for the rest the list is open).
_TOOLS: Final = tuple(
    Path(__file__).with_name("ssh_box_files").joinpath("tools.txt").read_text("ascii").split()
)
# The same from BusyBox, without `install` and `flock`. That SRM, of the age of DSM 5, has no more
# is open; a client that needs no more works in both cases.
_BUSYBOX: Final = tuple(
    name
    for name in _TOOLS
    if name not in {"bash", "flock", "install", "jq", "openssl", "md5sum", "comm"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """How sshd and sudo let people in."""

    port: int
    addresses: Sequence[str]
    auto_block: int | None = None
    """After that many wrong passwords everything from the address is refused."""
    legacy: bool = False
    root_password: bool = False


def tool_items(release: Release, *, busybox: bool) -> list[Item]:
    """Return the links of the box's command folders to this machine's programs."""
    items = [
        Item(path="/usr/bin"),
        Item(path="/usr/sbin"),
        *(Item(path=f"/{name}", link=f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")),
    ]
    for name in (*_TOOLS, "nologin", "chroot"):
        if busybox and name in _BUSYBOX:
            items.append(Item(path=f"/usr/bin/{name}", link=f"../../{_HOST}/{_found('busybox')}"))
        elif not busybox or name not in {"flock", "install"}:
            items.append(Item(path=f"/usr/bin/{name}", link=f"../../{_HOST}/{_found(name)}"))
    servers = ("sshd", "apache2") if release == "srm13" else ("sshd", "sudo", "nginx")
    for name in servers:
        shown = {"apache2": "sbin/httpd", "sudo": "bin/sudo"}.get(name, f"sbin/{name}")
        items.append(Item(path=f"/usr/{shown}", link=f"../../{_HOST}/{_found(name)}"))
    items.append(Item(path="/sbin/nologin", link=f"../../{_HOST}/{_found('nologin')}"))
    return items


def _found(name: str) -> str:
    """Return where this machine has a program, below /usr and past every alternative."""
    place = shutil.which(name, path=_SYSTEM_FOLDERS)
    if place is None:
        raise RuntimeError(f"{name} is not installed on this machine: see tests/run")
    return str(Path(place).resolve().relative_to("/usr"))


def door_items(doors: Doors, name: str, silent: str) -> list[Item]:
    """Return sshd's, PAM's and sudo's configuration (dsm-ssh 3.1, 3.2)."""
    config = [
        f"Port {doors.port}",
        *(f"ListenAddress {address}" for address in doors.addresses),
        *(f"HostKey /etc/ssh/ssh_host_{kind}_key" for kind in ("rsa", "ecdsa", "ed25519")),
        "AuthorizedKeysFile .ssh/authorized_keys",
        "StrictModes yes",
        "PasswordAuthentication yes",
        f"PermitRootLogin {'yes' if doors.root_password else 'prohibit-password'}",
        "UsePAM yes",
        "PrintMotd no",
        "UseDNS no",
        "LogLevel VERBOSE",
        "PidFile /run/sshd.pid",
    ]
    if doors.legacy:
        config += ["HostKeyAlgorithms ssh-rsa", "PubkeyAcceptedAlgorithms ssh-rsa"]
    if _openssh_version() >= _OPENSSH_WITH_PENALTIES:
        config.append("PerSourcePenalties no")  # no Synology box has a version that does it
    config += ["AllowTcpForwarding no", "Match User root,admin", "  AllowTcpForwarding yes"]
    authenticate = ["auth sufficient pam_unix.so nodelay", "auth required pam_deny.so"]
    if doors.auto_block is not None:
        block = "pam_exec.so quiet /opt/box/autoblock"
        authenticate = [
            f"auth requisite {block} asked",
            "auth sufficient pam_unix.so nodelay",
            f"auth optional {block} refused",
            "auth required pam_deny.so",
        ]
    rest = ["account required pam_unix.so", "session required pam_permit.so"]
    sudoers = [
        "Defaults syslog=authpriv",
        # Debian's sudo is built with other defaults than the box's: these take them back.
        "Defaults !secure_path, !use_pty, !mail_badpass, !mail_no_user",
        'Defaults passprompt="Password: "',
        "root ALL=(ALL) ALL",
        "%administrators ALL=(ALL) ALL",
        "%wheel ALL=(ALL) NOPASSWD: ALL, !SHELL, !SU",
        "@includedir /etc/sudoers.d",
    ]
    plain_sudo = ["auth required pam_unix.so nodelay", *rest]
    texts = {
        "/etc/ssh/sshd_config": (config, 0o644),
        "/etc/pam.d/sshd": ([*authenticate, *rest], 0o644),
        "/etc/pam.d/sudo": (plain_sudo, 0o644),
        "/etc/pam.d/sudo-i": (plain_sudo, 0o644),
        "/etc/pam.d/other": (["auth required pam_deny.so", "account required pam_deny.so"], 0o644),
        "/etc/sudoers": (sudoers, 0o440),
        "/etc/sudoers.d/silent": ([f"{silent} ALL=(ALL) NOPASSWD: ALL"], 0o440),
        "/etc/nsswitch.conf": (["passwd: files", "group: files", "hosts: files"], 0o644),
        "/etc/hosts": ([f"127.0.0.1 localhost {name}", f"::1 localhost {name}"], 0o644),
    }
    return [
        Item(path=path, content=lines_of(lines), mode=mode) for path, (lines, mode) in texts.items()
    ]


def nginx_items(entries: Sequence[Entry], release: Release, ports: Mapping[str, int]) -> list[Item]:
    """Return nginx's configuration: normal, in default mode, and with the DSM port away.

    DSM 6 reads the service directories, DSM 7 the layer below `www` (dsm-ssh 1.5).
    """
    desktop = _server(
        _pair_of("system/default", "/usr/syno/etc/certificate", release), ports["dsm"]
    )
    names = [
        _server(_pair(service, release), ports["https"], service.server_name)
        for entry in entries
        for service in entry.services
        if service.server_name is not None
    ]
    normal = _nginx([_plain(ports["http"]), desktop, *names])
    texts = {
        "/etc/nginx/nginx.conf": normal,
        "/opt/box/nginx.conf": normal,
        "/opt/box/nginx-without-dsm.conf": _nginx([_plain(ports["http"]), *names]),
        "/etc.defaults/nginx/nginx.conf.default": _nginx([_plain(ports["http"])]),
    }
    return [
        *(Item(path=path, content=text.encode(), mode=0o644) for path, text in texts.items()),
        *(Item(path=path) for path in ("/var/lib/nginx", "/var/log/nginx", "/usr/share/nginx")),
    ]


def _pair(service: Service, release: Release) -> str:
    base = service.directory.removesuffix(f"/{service.key}")
    return _pair_of(service.key, base, release)


def _pair_of(key: str, base: str, release: Release) -> str:
    if release == "dsm62":
        folder = f"{base}/{key}"
        return f"ssl_certificate {folder}/fullchain.pem; ssl_certificate_key {folder}/privkey.pem;"
    # The star makes a missing cert.conf no error of nginx (dsm-ssh 1.5).
    return f"include {LAYER}/{key.replace('/', '_')}/cert.conf*;"


def _server(pair: str, port: int, name: str = "_") -> str:
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {name};\n"
        f'    {pair}\n    location / {{ return 200 "{name}\\n"; }} }}'
    )


def _plain(port: int) -> str:
    return f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "plain\\n"; }} }}'


def _nginx(servers: Sequence[str]) -> str:
    return "\n".join(
        [
            "user http http;",
            "worker_processes 1;",
            "pid /run/nginx.pid;",
            "error_log /var/log/nginx/error.log;",
            "events { worker_connections 64; }",
            "http {",
            "  access_log off;",
            "  ssl_session_cache off;",
            *(f"  {server}" for server in servers),
            "}\n",
        ]
    )


def apache_items(port: int) -> list[Item]:
    """Return the router's web server (dsm-ssh 4): Apache as httpd-sys with the one certificate."""
    modules = Path("/usr/lib/apache2/modules")
    ssl = "/usr/syno/etc/ssl"
    wanted = ("mpm_event", "socache_shmcb", "authz_core", "ssl")
    lines = [
        *(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in wanted),
        "ServerRoot /etc/httpd",
        "ServerName router",
        "DocumentRoot /var/www",
        "PidFile /run/httpd/httpd-sys.pid",
        "DefaultRuntimeDir /run/httpd",
        "ErrorLog /var/log/httpd/error_log",
        "User http",
        "Group http",
        "StartServers 1",
        "SSLSessionCache none",
        f"Listen 127.0.0.1:{port}",
        f"<VirtualHost 127.0.0.1:{port}>",
        "  SSLEngine on",
        f"  SSLCertificateFile {ssl}/ssl.crt/server.crt",
        f"  SSLCertificateKeyFile {ssl}/ssl.key/server.key",
        f"  SSLCertificateChainFile {ssl}/ssl.intercrt/server-ca.crt",
        "</VirtualHost>",
    ]
    return [
        Item(path="/etc/httpd/conf/httpd.conf-sys", content=lines_of(lines), mode=0o644),
        *(Item(path=path) for path in ("/run/httpd", "/var/log/httpd", "/var/www")),
    ]


def _openssh_version() -> tuple[int, ...]:
    told = subprocess.run(
        ["ssh", "-V"],  # noqa: S607 - found on the path, as tests/run has it
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (0, 0)
