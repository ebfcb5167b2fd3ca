"""The command line, run in this process or as a child."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distributor.cli.main import main

CHILD_SECONDS = 60
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> str:
        return self.out + self.err


def run(*arguments: str, stdin: str = "") -> Ran:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(list(arguments))
    assert isinstance(ended.value.code, int)
    return Ran(ended.value.code, out.getvalue(), err.getvalue())


def child(
    *arguments: str, folder: Path, stdin: bytes = b"", before: str = "", **environment: str
) -> Ran:
    """Run a command as a child; `before` is Python that runs first."""
    done = subprocess.run(
        command(*arguments, before=before),
        input=stdin,
        capture_output=True,
        timeout=CHILD_SECONDS,
        env=child_environment(folder, **environment),
        cwd=folder,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def command(*arguments: str, before: str = "") -> list[str]:
    program = f"{before}\nimport sys\nfrom distributor.cli.main import main\nmain(sys.argv[1:])"
    return [sys.executable, "-c", program, *arguments]


def child_environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT),
        **more,
    }
