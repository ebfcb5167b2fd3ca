"""What PEM files of a host tell together: whether they can be served, and who may read a key."""

from dataclasses import replace

import pytest

from distributor.clients.shell import FileFacts
from distributor.model.hosts import PemPaths
from distributor.model.state import CHAIN, KEY, LEAF, UNREADABLE
from distributor.targets.pem_facts import agrees, with_served
from distributor.targets.pem_files import (
    Held,
    PemFile,
    facts_by_file,
    first_key_mode,
    is_servable,
    may_be_down,
    pem_files,
)
from tests.contract.scenarios import MAIL, NEW, OLD

PATHS = PemPaths(
    fullchain="/c/full.pem",
    leaf="/c/leaf.pem",
    chain="/c/chain.pem",
    private_key="/c/key.pem",
)
FACTS = FileFacts("file", "0600", 0, 0, "root:root", 1)


def seen(
    paths: PemPaths = PATHS, *, without: tuple[str, ...] = (), **other: bytes | None
) -> dict[PemFile, Held | None]:
    """Files that hold one pair, but for some that are missing or hold something else."""
    return {
        file: None
        if file.role in without
        else Held(file, FACTS, other.get(file.role, file.content(OLD)))
        for file in pem_files(paths)
    }


ANOTHER_KEY = PemFile("private_key", "/c/key.pem").content(NEW)


@pytest.mark.parametrize(
    ("without", "serves"),
    [
        ((), True),
        (("chain",), True),
        (("leaf", "chain"), True),
        (("fullchain", "chain"), True),
        (("private_key",), False),
        (("fullchain", "leaf"), False),
        (("fullchain", "leaf", "chain", "private_key"), False),
    ],
)
def test_what_is_missing_beside_leaf_and_key_is_no_reason_not_to_serve(
    without: tuple[str, ...], serves: bool
) -> None:
    assert is_servable(seen(without=without)) is serves
    # A program that wants a file which is missing may be down all the same.
    assert may_be_down(seen(without=without)) is bool(without)


def test_what_is_no_pair_or_cannot_be_read_is_not_served() -> None:
    for held in (
        seen(private_key=ANOTHER_KEY),
        seen(leaf=MAIL.leaf_pem),
        seen(fullchain=b""),
        seen(private_key=b"none"),
        seen(chain=None),
    ):
        assert not is_servable(held)
        assert may_be_down(held)
    alone = PemPaths(fullchain="/c/full.pem")
    assert is_servable(seen(alone))
    assert not is_servable(seen(alone, without=("fullchain",)))


@pytest.mark.parametrize(
    ("role", "mode", "content", "closed"),
    [
        ("private_key", "0644", b"", "0640"),
        ("private_key", "0604", b"# to be filled in", "0600"),
        ("combined", "0664", OLD.fullchain_pem, "0660"),
        ("combined", "0640", OLD.fullchain_pem, None),
        ("private_key", "0644", ANOTHER_KEY, None),
        ("private_key", "0644", None, None),
        ("fullchain", "0644", OLD.fullchain_pem, None),
    ],
)
def test_a_file_that_gets_its_first_key_is_closed_to_others(
    role: str, mode: str, content: bytes | None, closed: str | None
) -> None:
    file = PemFile(role, "/c/file")  # type: ignore[arg-type]  # one of the roles
    held = Held(file, replace(FACTS, mode=mode), content)
    assert first_key_mode(file, held) == closed
    assert first_key_mode(file, None) is None


def test_files_agree_with_what_they_told_beside_what_ports_showed() -> None:
    shown = (NEW.certificate("wild"), MAIL.certificate("mail"))
    for ports in ((), shown[:1], shown):
        before = facts_by_file(seen(), None, ports)
        for file, facts in facts_by_file(seen(), None, ()).items():
            assert agrees(facts, before[file])
    full = next(file for file in pem_files(PATHS) if file.role == "fullchain")
    now = facts_by_file(seen(), None, ())[full]
    assert agrees(now, with_served(now, shown))
    assert not agrees(now, {**now, LEAF: NEW.certificate("wild").leaf})
    assert not agrees(now, {**now, LEAF: UNREADABLE})
    assert not agrees(now, {**now, CHAIN: ()})
    assert not agrees(now, {**now, KEY: "another"})


def test_no_content_shows() -> None:
    held = seen()
    assert b"PRIVATE" in b"".join(one.content or b"" for one in held.values() if one)
    assert "PRIVATE" not in repr(held)
    assert "BEGIN" not in repr(held)
