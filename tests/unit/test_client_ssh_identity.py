"""Private keys to log in with: every form that ssh-keygen and openssl write, never quoted."""

import base64
from collections.abc import Callable
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from distributor.clients.ssh_identity import private_key
from distributor.model.errors import SecretError
from distributor.model.secret import Secret

PASSPHRASE = "a-passphrase-of-the-key"
KEYS: dict[str, Any] = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
    "ssh-rsa": rsa.generate_private_key(65537, 2048),
}
FORMATS = {
    "openssh": serialization.PrivateFormat.OpenSSH,
    "pkcs8": serialization.PrivateFormat.PKCS8,
    "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
}


def written(key: Any, form: str, passphrase: str | None = None) -> Secret:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
        if form == "openssh":  # the usual number of rounds takes its time
            builder = FORMATS[form].encryption_builder().kdf_rounds(1)
            encryption = builder.build(passphrase.encode())
    text = key.private_bytes(serialization.Encoding.PEM, FORMATS[form], encryption)
    return Secret(text.decode())


def public(key: Any) -> str:
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return str(line.decode())


FORMS = [
    (name, form)
    for name in KEYS
    for form in FORMATS
    if (name, form) != ("ssh-ed25519", "traditional")
]


@pytest.mark.parametrize(("name", "form"), FORMS)
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_is_read_in_every_form(name: str, form: str, passphrase: str | None) -> None:
    text = written(KEYS[name], form, passphrase)
    key = private_key(text, Secret(passphrase) if passphrase else None)
    assert isinstance(key, paramiko.PKey)
    assert f"{key.get_name()} {key.get_base64()}" == public(KEYS[name])
    assert key.can_sign()
    without_end = Secret(text.reveal().removesuffix("\n"))  # as a secret's last newline is taken
    assert private_key(without_end, Secret(passphrase) if passphrase else None) == key


def encrypted(name: str, form: str) -> Secret:
    return written(KEYS[name], form, PASSPHRASE)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_passphrase_is_asked_for_and_has_to_be_right(name: str, form: str) -> None:
    text = encrypted(name, form)
    with pytest.raises(SecretError, match=r"is encrypted: .*identity_passphrase"):
        private_key(text, None)
    with pytest.raises(SecretError, match="cannot be decrypted"):
        private_key(text, Secret("another-passphrase"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Secret(""), None),
        lambda: (Secret("no key at all"), None),
        lambda: (Secret(public(KEYS["ssh-ed25519"])), None),
        lambda: (Secret("PuTTY-User-Key-File-3: ssh-ed25519\n"), None),
        lambda: (Secret(encrypted("ssh-rsa", "openssh").reveal()[:300]), None),
        lambda: (written(ed448.Ed448PrivateKey.generate(), "pkcs8"), None),
        lambda: (Secret("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"), Secret(PASSPHRASE)),
        lambda: (Secret("-----BEGIN PRIVATE KEY-----\n\u20ac\n"), None),
    ],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(
    make: Callable[[], tuple[Secret, Secret | None]],
) -> None:
    text, passphrase = make()
    with pytest.raises(SecretError) as caught:
        private_key(text, passphrase)
    error = caught.value
    assert error.hint
    assert error.step == "secret"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    said = f"{error!s} {error!r}"
    assert PASSPHRASE not in said
    assert not any(line in said for line in text.reveal().splitlines() if line)


def with_rounds(count: int) -> str:
    """Return a key in OpenSSH's form that says in the clear to hash its passphrase so often."""
    lines = written(KEYS["ssh-ed25519"], "openssh", PASSPHRASE).reveal().splitlines()
    body = bytearray(base64.b64decode("".join(lines[1:-1])))
    place = body.index(b"bcrypt") + len(b"bcrypt") + 4
    place += 4 + int.from_bytes(body[place : place + 4], "big")
    assert body[place : place + 4] == bytes([0, 0, 0, 1])
    body[place : place + 4] = count.to_bytes(4, "big")
    return "\n".join((lines[0], base64.b64encode(body).decode(), lines[-1], ""))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [2001, 2**32 - 1])
def test_a_key_that_asks_to_hash_without_end_is_refused(count: int) -> None:
    with pytest.raises(SecretError, match="asks to hash its passphrase"):
        private_key(Secret(with_rounds(count)), Secret(PASSPHRASE))


@pytest.mark.timeout(60)
def test_so_is_one_in_pem() -> None:
    text = written(KEYS["ecdsa-sha2-nistp256"], "pkcs8", PASSPHRASE).reveal()
    lines = text.splitlines()
    body = base64.b64decode("".join(lines[1:-1]))
    at = body.index(bytes.fromhex("02020800"))  # 2048 rounds, and before them 16 octets of salt
    assert body[at - 18 : at - 16] == b"\x04\x10"
    # The number takes two octets of the salt, so that no length around them changes.
    changed = b"\x04\x0e" + body[at - 16 : at - 2] + bytes.fromhex("02047fffffff")
    made = base64.b64encode(body[: at - 18] + changed + body[at + 4 :]).decode()
    with pytest.raises(SecretError, match="asks to hash its passphrase"):
        private_key(Secret("\n".join((lines[0], made, lines[-1], ""))), Secret(PASSPHRASE))


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_key_that_breaks_off_is_none(cut: int) -> None:
    lines = with_rounds(1).splitlines()
    text = "\n".join((lines[0], lines[1][:cut], lines[-1], ""))
    with pytest.raises(SecretError):
        private_key(Secret(text), Secret(PASSPHRASE))
