"""Tries every cell of the fault matrix, and writes how each ended, and the page of it.

    python -m tests.matrix.write                    every cell
    python -m tests.matrix.write router-api         those of some kinds; the others stay
    python -m tests.matrix.write --page             no cell: only the page, from what is known

It takes minutes, and root for the boxes that are reached by SSH. Look at what changed before it is
committed: the tests hold each cell against what is written here.
"""

import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from tests.matrix.cells import tried
from tests.matrix.kinds import KINDS
from tests.matrix.page import page, write_ends, write_page


def main(words: Collection[str]) -> int:
    """Try the kinds that are named, or all."""
    unknown = set(words) - {kind.name for kind in KINDS} - {"--page"}
    if unknown:
        sys.stderr.write(f"no such kind: {', '.join(sorted(unknown))}\n")
        return 2
    chosen = [kind for kind in KINDS if not words or kind.name in words]
    for kind in chosen:
        found: dict[str, dict[str, str]] = {step: {} for step in kind.steps}
        with tempfile.TemporaryDirectory() as folder, kind.ready(Path(folder)):
            for number, (step, fault) in enumerate(kind.cells()):
                found[step][fault] = tried(kind, step, fault, Path(folder, f"{number}"))
                sys.stdout.write(f"{kind.name} | {step} | {fault} | {found[step][fault]}\n")
                sys.stdout.flush()
        write_ends(kind, found)
    write_page(page(KINDS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
