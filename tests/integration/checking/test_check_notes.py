"""`distribute check` without a connection: notes are shown, and do not make it fail."""

from collections.abc import Callable

from tests.integration.checking.conftest import Lab


def test_the_group_of_boxes_that_share_a_key_is_shown(make_lab: Callable[[int], Lab]) -> None:
    lab = make_lab(2)
    requests = [len(box.requests) for box in lab.range.boxes.values()]

    ran = lab.run("check", "--json")

    assert ran.code == 0
    assert ran.report["exit"] == 0
    assert ran.report["findings"] == []
    (note,) = ran.report["notes"]
    assert note["name"] == "shared-key"
    assert "attic and cellar" in note["message"]
    text = lab.run("check")
    assert text.code == 0
    assert "note   certificate home" in text.out
    assert "2 hosts, 1 certificates; nothing wrong" in text.out
    assert [len(box.requests) for box in lab.range.boxes.values()] == requests
    assert lab.run("-q", "check").out == ""
