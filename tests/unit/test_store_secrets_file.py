"""secrets.toml: read by its owner alone, replaced whole, and never quoted."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.store.secrets_file import SecretsFile

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(secrets=st.dictionaries(TEXT, TEXT, min_size=1), noted=st.sets(TEXT))
def test_what_is_put_comes_back(
    tmp_path_factory: pytest.TempPathFactory, secrets: dict[str, str], noted: set[str]
) -> None:
    path = tmp_path_factory.mktemp("state", numbered=True) / "own" / "secrets.toml"
    file = SecretsFile(path)
    for name in noted:
        file.note_in_keyring(name)
    for name, value in secrets.items():
        file.put(name, Secret(value))
    again = SecretsFile(path)
    assert {name: again.get(name) for name in again.names} == {
        name: Secret(value) for name, value in secrets.items()
    }
    assert set(again.in_keyring) == noted - secrets.keys()


def test_a_new_value_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = SecretsFile(tmp_path / "state" / "secrets.toml")
    file.put("attic", Secret("old"))
    file.put("attic", Secret("new"))
    assert file.get("attic") == Secret("new")
    assert "old" not in file.path.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["secrets.toml"]


def test_what_is_forgotten_is_gone_and_an_empty_file_too(tmp_path: Path) -> None:
    file = SecretsFile(tmp_path / "state" / "secrets.toml")
    assert file.forget("attic") is False
    file.put("attic", Secret("a"))
    file.note_in_keyring("cellar")
    assert file.forget("attic") is True
    assert file.get("attic") is None
    assert file.forget("cellar") is False
    assert not file.path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = SecretsFile(tmp_path / "state" / "secrets.toml")
    file.put("attic", Secret("hidden"))
    file.path.chmod(mode)
    with pytest.raises(StateError, match="others may read") as caught:
        file.get("attic")
    assert "chmod 600" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "secrets = [hidden",
        "[secrets]\nattic = 5\nother = 'hidden'",
        "secrets = 'hidden'",
        "in_keyring = [5]",
        b"\xffhidden",
    ],
)
def test_a_file_that_cannot_be_understood_is_told_without_its_text(
    tmp_path: Path, text: str | bytes
) -> None:
    path = tmp_path / "secrets.toml"
    path.touch(mode=0o600)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StateError, match="cannot be read") as caught:
        SecretsFile(path).get("attic")
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None
