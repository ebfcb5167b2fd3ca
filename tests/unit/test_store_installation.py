"""The id of an installation: made once, the same for ever, and nobody else's."""

import stat
import threading
from pathlib import Path

import pytest

from distributor.model.errors import StateError
from distributor.store import Store, files
from distributor.store.installation import Installation


def test_an_id_is_made_once_and_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    made = store.installation.id()
    assert len(made) == 32
    assert made.isalnum()
    assert Store(tmp_path / "state").installation.id() == made
    moved = (tmp_path / "state").rename(tmp_path / "moved")
    assert Store(moved).installation.id() == made
    assert Store(tmp_path / "other").installation.id() != made


def test_it_is_for_the_owner_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    Store(tmp_path / "state").installation.id()
    (only,) = (tmp_path / "state").iterdir()
    assert only.name == "installation"
    assert stat.S_IMODE(only.stat().st_mode) == 0o600
    assert only.stat().st_nlink == 1


def test_several_at_once_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, together, found = tmp_path / "state" / "installation", threading.Barrier(8), []
    reading = files.read

    def read_together(where: Path) -> bytes | None:
        content = reading(where)
        if content is None:
            together.wait()  # all of them find that there is none yet
        return content

    monkeypatch.setattr(files, "read", read_together)
    threads = [
        threading.Thread(target=lambda: found.append(Installation(path).id())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_process_that_was_killed_before_the_end_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "installation"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(files, "create", full)
        with pytest.raises(StateError, match="No space left"):
            Installation(path).id()
    assert list(path.parent.iterdir()) == []
    assert Installation(path).id()


@pytest.mark.parametrize("content", [b"", b"\n", b"0" * 32, b"../../etc\n", b"\xff" * 32 + b"\n"])
def test_a_damaged_one_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state" / "installation"
    files.write(path, content)
    with pytest.raises(StateError, match="holds no id") as caught:
        Installation(path).id()
    assert "remove it" in (caught.value.hint or "")
