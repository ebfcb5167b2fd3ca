"""A command on a terminal of its own, and somebody who answers what it asks."""

import os
import pty
import re
import select
import subprocess
import sys
from time import monotonic

from tests.integration.cli.house import CHILD_SECONDS, House, Ran

_AT_HOME = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal the controlling one, so that Ctrl-C reaches the command as a signal."""


def converse(house: House, answers: tuple[tuple[str, str], ...], *arguments: str) -> Ran:
    """Run a command; type each answer when what is shown ends with its question (a pattern).

    All that was shown is in `out`. Fails if a question does not come.
    """
    ours, its = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", _AT_HOME, *house.command(*arguments)],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**house.child_environment(), "TERM": "dumb", "COLUMNS": "200"},
        cwd=house.folder,
        start_new_session=True,
    )
    os.close(its)
    try:
        shown = b""
        for question, answer in answers:
            piece = _read(ours, question)
            shown += piece
            text = shown.decode()
            assert re.search(f"(?:{question})$", piece.decode()), f"{question!r} not in {text!r}"
            os.write(ours, answer.encode() + b"\n")
        shown += _read(ours, None)
        code = child.wait(timeout=CHILD_SECONDS)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return Ran(code, shown.decode().replace("\r\n", "\n"), "")


def _read(terminal: int, question: str | None) -> bytes:
    """Read up to the question, or up to the end."""
    shown, deadline = b"", monotonic() + CHILD_SECONDS
    while monotonic() < deadline:
        if question is not None and re.search(f"(?:{question})$".encode(), shown):
            break
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        shown += piece
    return shown
