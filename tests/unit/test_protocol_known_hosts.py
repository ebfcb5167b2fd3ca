"""known_hosts: which lines are meant, and that no line makes the reader stumble."""

import base64
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.model.host_keys import HostKey
from distributor.model.hosts import SocketAddress
from distributor.protocol.known_hosts import fingerprint, known_keys

BLOB = base64.b64encode(b"a public key").decode()
KEY = HostKey("ssh-ed25519", fingerprint(b"a public key"))
BOX = SocketAddress("attic.example.com", 22)


def hashed(name: str) -> str:
    salt = b"twenty bytes of salt"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ("attic.example.com", BOX),
        ("Attic.Example.com", BOX),
        ("192.0.2.1,attic.example.com", BOX),
        ("*.example.com", BOX),
        ("attic.example.co?", BOX),
        ("!cellar.example.com,*.example.com", BOX),
        pytest.param(hashed("attic.example.com"), BOX, id="hashed"),
        ("[attic.example.com]:2222", SocketAddress("attic.example.com", 2222)),
        pytest.param(
            hashed("[attic.example.com]:2222"),
            SocketAddress("attic.example.com", 2222),
            id="hashed with port",
        ),
        ("2001:db8::1", SocketAddress("2001:db8::1", 22)),
        ("[2001:db8::1]:2222", SocketAddress("2001:db8::1", 2222)),
    ],
)
def test_a_line_for_the_address_counts(names: str, address: SocketAddress) -> None:
    line = f"{names}  ssh-ed25519\t{BLOB} a comment"
    assert known_keys(f"# one\n\n{line}\n", address).keys == {KEY}
    assert known_keys(f"@revoked {line}\n", address).revoked == {KEY}
    assert known_keys(f"@cert-authority {line}\n", address).keys == frozenset()


@pytest.mark.parametrize(
    "names",
    [
        "cellar.example.com",
        "attic.example.com.evil.example",
        "attic-example.com",
        "attic.example.*m.x",
        "!attic.example.com,*.example.com",
        "*.example.com,!attic.example.com",
        "!attic.example.com",
        "[attic.example.com]:2222",
        "|1|AAAA|AAAA",
        "|1||",
        "|1|",
        pytest.param(hashed("cellar.example.com"), id="hashed"),
        "#attic.example.com",
    ],
)
def test_other_lines_do_not(names: str) -> None:
    known = known_keys(f"{names} ssh-ed25519 {BLOB}\n", BOX)
    assert (known.keys, known.revoked) == (frozenset(), frozenset())


def test_all_keys_of_an_address_are_found() -> None:
    other = base64.b64encode(b"another").decode()
    text = (
        f"attic.example.com ssh-ed25519 {BLOB}\n"
        f"attic.example.com ssh-ed25519 {other}\n"
        f"{hashed('attic.example.com')} ssh-rsa {BLOB}\n"
        f"@revoked * ssh-ed25519 {other}\n"
    )
    known = known_keys(text, BOX)
    another = HostKey("ssh-ed25519", fingerprint(b"another"))
    assert known.keys == {KEY, another, HostKey("ssh-rsa", KEY.fingerprint)}
    assert known.revoked == {another}


@given(st.text() | st.lists(st.sampled_from(["@revoked", "*", "|1|", "a", BLOB, " ", "\n"])))
@example(["attic.example.com ssh-ed25519 !!!\n"])
def test_any_text_is_read(text: str | list[str]) -> None:
    known_keys("".join(text), BOX)
