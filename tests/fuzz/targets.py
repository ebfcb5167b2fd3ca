"""All inputs that come from outside, by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.fuzz import (
    authority,
    certificates,
    devices,
    nameserving,
    peers,
    shells,
    shown_files,
    ssh_peers,
    state_files,
    texts,
)
from tests.fuzz.judging import Target

TARGETS: Final[Mapping[str, Target]] = {
    **devices.TARGETS,
    **certificates.TARGETS,
    **texts.TARGETS,
    **authority.TARGETS,
    **nameserving.TARGETS,
    **state_files.TARGETS,
    **shells.TARGETS,
    **shown_files.TARGETS,
    **peers.TARGETS,
    **ssh_peers.TARGETS,
}
FOUND: Final = Path(__file__).parents[1] / "corpora" / "fuzz"
"""Inputs that showed a mistake once, in a folder for each target; they are tried for ever."""
