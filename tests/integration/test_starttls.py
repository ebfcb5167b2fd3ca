"""Endpoints that begin in plain text: what they serve is seen, and what goes wrong is said."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from distributor.clients.tls import probe
from distributor.model.bundle import fingerprint
from distributor.model.errors import ProtocolError, Unreachable
from distributor.model.hosts import Endpoint, SocketAddress, StartTls
from tests.certs import Issued, hierarchy

NAME = "attic.example.test"
ISSUED: Issued = hierarchy(1).issue([NAME])
PROTOCOLS: tuple[StartTls, ...] = ("ftp", "smtp", "imap", "ldap")

Play = Callable[[socket.socket], bool]
"""Talks in the clear; tells whether TLS is to follow."""

EXTENDED = "1.3.6.1.4.1.1466.20037"
OK = bytes.fromhex("300c02010178070a010004000400")
OK_LONG = bytes.fromhex(
    "3084000000100201017884000000070a010004000400"
)  # as OpenLDAP does not, AD does
AGREES: dict[str, tuple[bytes, tuple[tuple[bytes, bytes], ...]]] = {
    "ftp": (b"220-Welcome\r\n 220 not yet\r\n220 ready\r\n", ((b"AUTH TLS\r\n", b"234 go\r\n"),)),
    "smtp": (
        b"220 mail\r\n",
        (
            (b"EHLO localhost\r\n", b"250-mail\r\n250-SIZE 1\r\n250 STARTTLS\r\n"),
            (b"STARTTLS\r\n", b"220 2.0.0 go\r\n"),
        ),
    ),
    "imap": (b"* OK ready\r\n", ((b"a1 STARTTLS\r\n", b"* CAPABILITY IMAP4rev1\r\na1 OK go\r\n"),)),
    "ldap": (b"", ((bytes.fromhex("301d02010177188016") + EXTENDED.encode(), OK),)),
}


def agreeing(protocol: str, *, after: bytes = b"", slowly: bool = False) -> Play:
    """Play the protocol up to TLS; `after` is what follows the last answer in plain text."""
    greeting, steps = AGREES[protocol]

    def say(plain: socket.socket, words: bytes) -> None:
        for part in [words[i : i + 1] for i in range(len(words))] if slowly else [words]:
            plain.sendall(part)

    def play(plain: socket.socket) -> bool:
        say(plain, greeting)
        for number, (asked, answer) in enumerate(steps, 1):
            heard = b""
            while len(heard) < len(asked):
                more = plain.recv(len(asked) - len(heard))
                if not more:
                    return False
                heard += more
            assert heard == asked
            say(plain, answer + (after if number == len(steps) else b""))
        return True

    return play


def saying(*words: bytes) -> Play:
    """Say each of these after whatever the client says, then wait for its end."""

    def play(plain: socket.socket) -> bool:
        for word in words:
            plain.sendall(word)
            if not plain.recv(4096):
                return False
        while plain.recv(4096):
            pass
        return False

    return play


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    file: Path = tmp_path_factory.mktemp("starttls") / "pair.pem"
    file.write_bytes(ISSUED.private_key_pem + ISSUED.fullchain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@contextmanager
def serving(context: ssl.SSLContext, play: Play) -> Iterator[SocketAddress]:
    """Serve one connection with `play`, then TLS if it says so; fail when the play fails."""
    went_wrong: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                plain, _ = listening.accept()
                with plain:
                    plain.settimeout(10)
                    if play(plain):
                        with context.wrap_socket(plain, server_side=True) as secured:
                            secured.recv(1)
            except OSError:
                pass  # the client left, as it may
            except AssertionError as error:
                went_wrong.append(error)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield SocketAddress("127.0.0.1", listening.getsockname()[1])
        thread.join(10)
    assert not thread.is_alive()
    assert went_wrong == []


def endpoint(address: SocketAddress, protocol: StartTls) -> Endpoint:
    return Endpoint(address=address, certificate="home", server_name=NAME, starttls=protocol)


@pytest.mark.parametrize("slowly", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_leaf_and_chain_are_seen_behind_starttls(
    context: ssl.SSLContext, protocol: StartTls, slowly: bool
) -> None:
    with serving(context, agreeing(protocol, slowly=slowly)) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert seen.error is None
    assert seen.certificate is not None
    assert seen.certificate.leaf == fingerprint(ISSUED.leaf)
    assert seen.certificate.chain == tuple(map(fingerprint, ISSUED.chain))


def test_ldap_lengths_may_be_written_in_four_bytes(context: ssl.SSLContext) -> None:
    def play(plain: socket.socket) -> bool:
        plain.recv(4096)
        plain.sendall(OK_LONG)
        return True

    with serving(context, play) as address:
        seen = probe(endpoint(address, "ldap"), 5)
    assert seen.error is None


@pytest.mark.parametrize(
    ("protocol", "words", "said"),
    [
        ("ftp", (b"220 hi\r\n", b"502 no such command\r\n"), "502 no such command"),
        ("ftp", (b"421 too many\r\n",), "421 too many"),
        ("ftp", (b"220 hi\r\n", b"334 tell me more\r\n"), "334 tell me more"),
        ("smtp", (b"554 go away\r\n",), "554 go away"),
        ("smtp", (b"220 hi\r\n", b"500 what\r\n"), "500 what"),
        ("smtp", (b"220 hi\r\n", b"250 hi\r\n", b"454 TLS not available\r\n"), "454 TLS"),
        ("imap", (b"* BYE\r\n",), "* BYE"),
        ("imap", (b"* OK hi\r\n", b"a1 NO \x1b[2Jnot now\r\n"), r"a1 NO \x1b[2Jnot now"),
        ("imap", (b"* OK hi\r\n", b"a1 BAD what\r\n"), "a1 BAD what"),
    ],
)
def test_a_server_that_refuses_is_quoted(
    context: ssl.SSLContext, protocol: StartTls, words: tuple[bytes, ...], said: str
) -> None:
    with serving(context, saying(*words)) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert isinstance(seen.error, ProtocolError)
    assert said in seen.error.message
    assert str(address) in seen.error.message
    assert seen.error.hint


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("300c02010178070a013404000400", "result code 52"),
        ("300c02010178070a010204000400", "result code 2"),
        ("300c02010278070a010004000400", "does not answer the request"),
        ("300c02010165070a010004000400", "does not answer the request"),
        ("3005020101780000", "has no result"),
        ("3004020101788f", "does not answer the request"),
        ("3005020101788f", "has no result"),
        ("300702010178020a01", "has no result"),
        ("30840000ffff", "does not answer in LDAP"),
        ("30890000ffff", "does not answer in LDAP"),
        ("1603010005", "does not answer in LDAP"),
    ],
)
def test_an_ldap_server_that_refuses_or_talks_nonsense(
    context: ssl.SSLContext, answer: str, said: str
) -> None:
    def play(plain: socket.socket) -> bool:
        plain.recv(4096)
        plain.sendall(bytes.fromhex(answer))
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            pass
        return False

    with serving(context, play) as address:
        seen = probe(endpoint(address, "ldap"), 5)
    assert isinstance(seen.error, ProtocolError)
    assert said in seen.error.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x00\x05hello\r\n", b"HTTP/1.0 400 Bad\r\n\r\n", b"\xff" * 64 + b"\n"]
)
def test_garbage_is_no_beginning_of_tls(
    context: ssl.SSLContext, protocol: StartTls, garbage: bytes
) -> None:
    with serving(context, saying(garbage)) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert isinstance(seen.error, ProtocolError)
    assert "does not begin TLS" in seen.error.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_text_after_the_agreement_is_refused(
    context: ssl.SSLContext, protocol: StartTls
) -> None:
    with serving(context, agreeing(protocol, after=b"220 injected\r\n")) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert isinstance(seen.error, ProtocolError)
    assert "plain text" in seen.error.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_falls_silent_costs_its_time_out_and_no_more(
    context: ssl.SSLContext, protocol: StartTls
) -> None:
    greeting, _ = AGREES[protocol]

    def play(plain: socket.socket) -> bool:
        plain.sendall(greeting)
        while plain.recv(4096):
            pass
        return False

    began = monotonic()
    with serving(context, play) as address:
        seen = probe(endpoint(address, protocol), 0.3)
    assert isinstance(seen.error, Unreachable)
    assert "did not answer within 0.3 s" in seen.error.message
    assert monotonic() - began < 3


@pytest.mark.parametrize("protocol", ["ftp", "smtp"])
def test_a_server_that_drips_its_greeting_costs_the_time_out_of_the_whole(
    context: ssl.SSLContext, protocol: StartTls
) -> None:
    def play(plain: socket.socket) -> bool:
        while True:
            plain.sendall(b"220-\r\n")
            threading.Event().wait(0.02)

    began = monotonic()
    with serving(context, play) as address:
        seen = probe(endpoint(address, protocol), 0.4)
    assert isinstance(seen.error, Unreachable)
    assert monotonic() - began < 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_without_end_is_left(context: ssl.SSLContext, protocol: StartTls) -> None:
    endless = b"\x30\x84\x7f\xff\xff\xff" if protocol == "ldap" else b"220-" + b"x" * 500

    def play(plain: socket.socket) -> bool:
        while True:
            plain.sendall(endless)

    with serving(context, play) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert isinstance(seen.error, ProtocolError)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_hangs_up_is_unreachable(context: ssl.SSLContext, protocol: StartTls) -> None:
    with serving(context, lambda _plain: False) as address:
        seen = probe(endpoint(address, protocol), 5)
    assert isinstance(seen.error, Unreachable)


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    seen = probe(endpoint(SocketAddress("127.0.0.1", port), "imap"), 5)
    assert isinstance(seen.error, Unreachable)
    assert "no connection" in seen.error.message
