"""`python -m tests.fuzz NAME --seconds N`: try one input for as long as one likes.

With the dependency group `fuzz` installed (atheris) what is tried follows the coverage of the
product; without it the same changes are made blindly. An input that shows a mistake is kept in
tests/corpora/fuzz/NAME/, from where the tests replay it. `all` takes one target after the other.
"""

import argparse
import faulthandler
import importlib
import importlib.util
import logging
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from random import Random

from pytest_socket import socket_allow_hosts

Explore = Callable[[str, int, int], int]

LONGEST_INPUT = 1 << 16
SLOWEST = 30
"""Seconds that an input may take until it counts as one that never ends."""
MEMORY = 4 << 30
"""Bytes of address space; what takes more is a mistake."""
MISTAKES = 5
"""After so many it is time to look."""
_INSTRUMENTED = ("distributor", "acme", "josepy", "dns", "paramiko", "zipfile")
_COUNT = re.compile(r"stat::number_of_executed_units: ([0-9]+)")


def main() -> int:
    """Explore, and return 1 when a mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", help="a target, `all`, or `list`")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
    is_led = not asked.blind and importlib.util.find_spec("atheris") is not None
    explore = _led if is_led else _blind
    with _instrumented() if is_led else nullcontext():
        from tests.fuzz.targets import TARGETS
    if asked.name == "list":
        sys.stdout.write("\n".join(TARGETS) + "\n")
        return 0
    names = list(TARGETS) if asked.name == "all" else [asked.name]
    sys.stdout.write(f"{'led by coverage' if is_led else 'blind'}\n")
    return max([_in_a_process(explore, name, asked.seconds, asked.seed) for name in names])


def _instrumented() -> AbstractContextManager[None]:
    atheris = importlib.import_module("atheris")
    found: AbstractContextManager[None] = atheris.instrument_imports(include=list(_INSTRUMENTED))
    return found


def _in_a_process(explore: Explore, name: str, seconds: int, seed: int) -> int:
    """Explore one target, and tell in a line what came of it; in full when it was a mistake.

    A process of its own: libFuzzer ends the one that it runs in.
    """
    seed = seed or time.time_ns() % 2**31
    with tempfile.TemporaryFile() as heard:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.dup2(heard.fileno(), 2)
            os._exit(explore(name, seconds, seed))
        _, status = os.waitpid(child, 0)
        heard.seek(0)
        said = heard.read().decode("utf-8", "replace")
    count = _COUNT.findall(said)
    is_well = status == 0 and bool(count)
    verdict = "no mistake" if is_well else f"A MISTAKE (seed {seed})"
    sys.stdout.write(f"{name}: {count[-1] if count else 'no'} inputs, {verdict}\n")
    if not is_well:
        sys.stdout.write("".join(line for line in said.splitlines(True) if line[0] not in "#I"))
    sys.stdout.flush()
    return int(not is_well)


def _blind(name: str, seconds: int, seed: int) -> int:
    from tests.fuzz.changing import varied
    from tests.fuzz.targets import TARGETS

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    target = TARGETS[name]
    samples, ends, runs, found = target.samples(), time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends and found < MISTAKES:
        data = varied(Random(f"{seed} {runs}"), samples, target.form)  # noqa: S311 - no secret is made of it
        runs += 1
        try:
            faulthandler.dump_traceback_later(SLOWEST, exit=True)
            target.run(data)
        except Exception:  # noqa: BLE001 - any is what is looked for
            found += 1
            traceback.print_exc()
            _keep(name, data)
        finally:
            faulthandler.cancel_dump_traceback_later()
    sys.stderr.write(f"stat::number_of_executed_units: {runs}\n")
    sys.stderr.flush()
    return int(found > 0)


def _led(name: str, seconds: int, seed: int) -> int:
    from tests.fuzz.changing import varied
    from tests.fuzz.targets import TARGETS

    atheris = importlib.import_module("atheris")
    target = TARGETS[name]
    samples = target.samples()

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            _keep(name, data)
            raise

    def change(data: bytes, size: int, number: int) -> bytes:
        random = Random(number)  # noqa: S311 - no secret is made of it
        if number % 2 and data:
            return bytes(atheris.Mutate(data, size))
        known = (bytes(data),) if data and number % 8 else samples
        return varied(random, known, target.form)[:size]

    with tempfile.TemporaryDirectory() as folder:
        for number, sample in enumerate(samples):
            Path(folder, str(number)).write_bytes(sample)
        options = {
            "max_total_time": seconds,
            "timeout": SLOWEST,
            "rss_limit_mb": 2048,
            "max_len": LONGEST_INPUT,
            "seed": seed,
            "print_final_stats": 1,
            "artifact_prefix": f"{folder}/",
        }
        given = [f"-{option}={value}" for option, value in options.items()]
        atheris.Setup([name, *given, folder], once, custom_mutator=change)
        atheris.Fuzz()
    return 0


def _keep(name: str, data: bytes) -> None:
    from tests.fuzz.targets import FOUND

    path = FOUND / name / sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    sys.stderr.write(f"kept as {path}\n")


if __name__ == "__main__":
    sys.exit(main())
