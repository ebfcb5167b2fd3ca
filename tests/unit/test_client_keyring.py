"""Secrets by name: the keyring first, secrets.toml where there is none, and every failure told."""

import inspect
import stat
from collections.abc import Iterator
from pathlib import Path

import keyring.errors
import pytest
from keyring.backends import fail, null
from secretstorage.exceptions import ItemNotFoundException, SecretStorageException

from distributor.clients.keyring import SERVICE, NamedSecrets, translate
from distributor.clients.secrets import fetch
from distributor.model.errors import SecretError
from distributor.model.hosts import KeyringSecret
from distributor.model.secret import Secret
from distributor.store.secrets_file import SecretsFile
from tests.memory_keyring import MemoryKeyring, installed

VALUE = Secret("correct & horse\\ 'battery' ünd staple\n")
OTHER = Secret("another")


@pytest.fixture
def file(tmp_path: Path) -> SecretsFile:
    return SecretsFile(tmp_path / "state" / "secrets.toml")


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    backend = MemoryKeyring()
    with installed(backend):
        yield backend


@pytest.fixture(params=[fail.Keyring, null.Keyring])
def no_ring(request: pytest.FixtureRequest) -> Iterator[None]:
    with installed(request.param()):
        yield


def test_a_secret_goes_into_the_keyring_and_comes_back_as_it_was(
    ring: MemoryKeyring, file: SecretsFile
) -> None:
    named = NamedSecrets(file)
    assert named.set("attic", VALUE) == "keyring"
    assert ring.held == {(SERVICE, "attic"): VALUE.reveal()}
    assert fetch(KeyringSecret("attic"), named.get) == VALUE
    assert named.where("attic").place == "keyring"
    assert named.names() == ("attic",)
    assert VALUE.reveal() not in file.path.read_text(encoding="utf-8")


def test_without_a_keyring_a_secret_goes_into_a_file_that_its_owner_alone_reads(
    no_ring: None, file: SecretsFile
) -> None:
    named = NamedSecrets(file)
    assert named.set("attic", VALUE) == "secrets.toml"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert fetch(KeyringSecret("attic"), named.get) == VALUE
    assert named.where("attic").place == "secrets.toml"


def test_the_keyring_wins_over_the_file(ring: MemoryKeyring, file: SecretsFile) -> None:
    file.put("attic", OTHER)
    named = NamedSecrets(file)
    assert named.get("attic") == OTHER
    ring.held[SERVICE, "attic"] = VALUE.reveal()
    assert named.get("attic") == VALUE


def test_a_secret_set_in_the_keyring_leaves_no_copy_in_the_file(
    ring: MemoryKeyring, file: SecretsFile
) -> None:
    file.put("attic", OTHER)
    NamedSecrets(file).set("attic", VALUE)
    assert file.names == ()
    assert file.in_keyring == ("attic",)


def test_a_locked_keyring_does_not_hide_what_the_file_has(
    ring: MemoryKeyring, file: SecretsFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.put("attic", VALUE)
    ring.failure = keyring.errors.KeyringLocked(VALUE.reveal())
    named = NamedSecrets(file)
    assert named.get("attic") == VALUE
    found = named.where("attic")
    assert found.place == "secrets.toml"
    assert found.error is not None
    assert "locked" in found.error.message
    assert VALUE.reveal() not in caplog.text
    assert "KeyringLocked" in caplog.text


def test_a_locked_keyring_is_the_reason_when_nothing_else_has_the_secret(
    ring: MemoryKeyring, file: SecretsFile
) -> None:
    ring.failure = keyring.errors.KeyringLocked()
    with pytest.raises(SecretError, match="locked") as caught:
        NamedSecrets(file).get("attic")
    assert "PYTHON_KEYRING_BACKEND=" in (caught.value.hint or "")
    with pytest.raises(SecretError, match="locked"):
        NamedSecrets(file).set("attic", VALUE)
    assert not file.path.exists()
    with pytest.raises(SecretError, match="locked"):
        NamedSecrets(file).delete("attic")


@pytest.mark.parametrize("name", ["attic", "the attic's"])
def test_a_missing_secret_says_the_command_that_sets_it(
    ring: MemoryKeyring, file: SecretsFile, name: str
) -> None:
    with pytest.raises(SecretError, match="no secret") as caught:
        NamedSecrets(file).get(name)
    assert name in caught.value.message
    assert (caught.value.hint or "").startswith("distribute secret set ")
    assert NamedSecrets(file).where(name).place == "missing"


def test_a_keyring_that_does_not_keep_is_found_out(ring: MemoryKeyring, file: SecretsFile) -> None:
    ring.forgets = True
    with pytest.raises(SecretError, match="does not give it back") as caught:
        NamedSecrets(file).set("attic", VALUE)
    assert VALUE.reveal() not in str(caught.value)
    assert not file.path.exists()


def test_deleting_removes_a_secret_wherever_it_is(ring: MemoryKeyring, file: SecretsFile) -> None:
    named = NamedSecrets(file)
    assert named.delete("attic") == ()
    named.set("attic", VALUE)
    assert named.delete("attic") == ("keyring",)
    assert ring.held == {}
    assert not file.path.exists()
    file.put("attic", OTHER)
    ring.held[SERVICE, "attic"] = "x"
    assert named.delete("attic") == ("keyring", "secrets.toml")
    assert named.where("attic").place == "missing"


def test_deleting_in_the_keyring_leaves_the_others(ring: MemoryKeyring, file: SecretsFile) -> None:
    named = NamedSecrets(file)
    named.set("attic", VALUE)
    named.set("cellar", OTHER)
    named.delete("attic")
    assert named.names() == ("cellar",)
    assert named.get("cellar") == OTHER


ERRORS = [
    kind
    for _, kind in inspect.getmembers(keyring.errors, inspect.isclass)
    if issubclass(kind, Exception)
]


def test_the_walk_below_sees_the_errors_of_the_library() -> None:
    assert len(ERRORS) >= 6


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_of_the_library_has_words_of_its_own(kind: type[Exception]) -> None:
    found = translate(kind("s3cret"), "looking for 'attic'")
    assert found.message.startswith("looking for 'attic': ")
    assert found.hint
    assert found.step == "secret"
    assert "s3cret" not in str(found)
    if kind is not keyring.errors.KeyringError:
        assert kind.__name__ not in found.message


@pytest.mark.parametrize(
    "error",
    [
        *(kind("s3cret") for kind in ERRORS),
        SecretStorageException("s3cret"),
        ItemNotFoundException("s3cret"),
        OSError(5, "s3cret"),
        RuntimeError("s3cret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_a_keyring_leaves_untranslated(
    ring: MemoryKeyring, file: SecretsFile, error: Exception
) -> None:
    ring.failure = error
    named = NamedSecrets(file)
    for act in (
        lambda: named.get("attic"),
        lambda: named.set("attic", VALUE),
        lambda: named.delete("attic"),
    ):
        with pytest.raises(SecretError) as caught:
            act()
        assert "s3cret" not in str(caught.value)


def test_a_backend_that_does_not_exist_is_told_and_the_file_still_read(
    file: SecretsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.put("attic", VALUE)
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no.such.Backend")
    named = NamedSecrets(file)
    assert named.get("attic") == VALUE
    with pytest.raises(SecretError, match="ModuleNotFoundError"):
        named.set("attic", VALUE)
