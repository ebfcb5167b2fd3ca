"""The lab's web server with PEM files: its SSH server as paramiko sees it, and what it serves."""

import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import paramiko
import pytest

from distributor.lab.factory import factory_certificate
from distributor.lab.material import Material
from distributor.lab.proxy import USER, Proxy
from tests.certs import Issued, hierarchy

PASSWORD = "pass of the proxy"
SECONDS = 10.0


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(tmp_path / "proxy", factory_certificate("proxy"), password=PASSWORD) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[paramiko.SSHClient]:
    with closing(signed_in(proxy, PASSWORD)) as client:
        yield client


def signed_in(proxy: Proxy, password: str) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507 - a lab's own
    try:
        client.connect(
            proxy.address,
            port=proxy.ssh_port,
            username=USER,
            password=password,
            allow_agent=False,
            look_for_keys=False,
            timeout=SECONDS,
        )
    except BaseException:
        client.close()
        raise
    return client


def said(client: paramiko.SSHClient, command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    channel = client.get_transport().open_session(timeout=SECONDS)  # type: ignore[union-attr]
    with closing(channel):
        channel.settimeout(SECONDS)
        channel.exec_command(command)
        channel.sendall(stdin)
        channel.shutdown_write()
        out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
        return channel.recv_exit_status(), out, err


def shown(proxy: Proxy) -> str:
    pem = ssl.get_server_certificate((proxy.address, proxy.port), timeout=SECONDS)
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def leaf(of: Material | Issued) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return sha256(of.leaf.public_bytes(Encoding.DER)).hexdigest()


def put(proxy: Proxy, pair: Issued, key: bytes | None = None) -> None:
    proxy.fullchain.write_bytes(pair.fullchain_pem)
    proxy.private_key.write_bytes(key or pair.private_key_pem)


def until_told(proxy: Proxy, times: int) -> None:
    deadline = time.monotonic() + SECONDS
    while proxy.reloads < times:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def comes_to_serve(proxy: Proxy, wanted: str) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if shown(proxy) == wanted:
                return True
        except OSError:
            pass  # between closing and opening
        time.sleep(0.02)
    return False


def test_commands_have_streams_and_a_status(client: paramiko.SSHClient) -> None:
    content = bytes(range(256)) * 1000
    assert said(client, "cat; echo words >&2; exit 7", content) == (7, content, b"words\n")
    assert said(client, "kill -9 $$")[0] != 0


def test_a_wrong_password_and_everything_but_commands_are_refused(
    proxy: Proxy, client: paramiko.SSHClient
) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        signed_in(proxy, "another").close()
    with pytest.raises(paramiko.SSHException):
        client.open_sftp()
    transport = client.get_transport()
    assert transport is not None
    with pytest.raises(paramiko.ChannelException):
        transport.open_channel("direct-tcpip", ("127.0.0.1", 1), ("127.0.0.1", 2))


def test_files_are_read_only_when_it_is_told(proxy: Proxy, client: paramiko.SSHClient) -> None:
    pair = hierarchy(1).issue(["proxy.example.test"])
    old = shown(proxy)
    put(proxy, pair)
    assert shown(proxy) == old
    assert said(client, proxy.reload)[0] == 0
    assert comes_to_serve(proxy, leaf(pair))
    assert proxy.reloads == 1


def test_files_that_are_no_pair_leave_it_with_what_it_has(
    proxy: Proxy, client: paramiko.SSHClient
) -> None:
    pair, other = (hierarchy(1).issue(["proxy.example.test"]) for _ in range(2))
    old = shown(proxy)
    put(proxy, pair, other.private_key_pem)
    assert said(client, proxy.reload)[0] == 0
    until_told(proxy, 1)
    assert shown(proxy) == old


def test_its_end_ends_a_command_that_runs(tmp_path: Path) -> None:
    with Proxy(tmp_path / "proxy", factory_certificate("proxy"), password=PASSWORD) as proxy:
        client = signed_in(proxy, PASSWORD)
        channel = client.get_transport().open_session()  # type: ignore[union-attr]
        channel.exec_command("echo begun; exec sleep 600")
        assert channel.recv(5) == b"begun"
        began = time.monotonic()
    with closing(client):
        assert time.monotonic() - began < SECONDS
