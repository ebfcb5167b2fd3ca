"""`python -m tests.fuzz NAME --seconds N`: try one input, led by coverage, for as long as one likes.

With the dependency group `fuzz` installed (atheris) what is tried follows the coverage of the
product; without it the same changes are made blindly. An input that shows a mistake is kept in
tests/corpora/fuzz/NAME/, from where the tests replay it. `all` takes one target after the other.
"""

import argparse
import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from pathlib import Path
from random import Random

LONGEST_INPUT = 1 << 16


def main() -> int:
    """Explore, and return 1 when a mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", help="a target, `all`, or `list`")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    is_led = not asked.blind and importlib.util.find_spec("atheris") is not None
    if asked.name in {"all", "list"}:
        from tests.fuzz.targets import TARGETS

        if asked.name == "list":
            sys.stdout.write("\n".join(TARGETS) + "\n")
            return 0
        return max(_in_a_process(name, asked) for name in TARGETS)
    seed = asked.seed or time.time_ns() % 2**31
    sys.stdout.write(f"{asked.name}: {'led by coverage' if is_led else 'blind'}, seed {seed}\n")
    sys.stdout.flush()
    if is_led:
        return _led(asked.name, asked.seconds, seed)
    return _blind(asked.name, asked.seconds, seed)


def _in_a_process(name: str, asked: argparse.Namespace) -> int:
    more = ["--blind"] if asked.blind else []
    command = [sys.executable, "-m", "tests.fuzz", name, *more]
    command += ["--seconds", str(asked.seconds), "--seed", str(asked.seed)]
    return int(subprocess.run(command, check=False).returncode != 0)


def _blind(name: str, seconds: int, seed: int) -> int:
    from tests.fuzz.changing import varied
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    samples, ends, runs, found = target.samples(), time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends:
        data = varied(Random(f"{seed} {runs}"), samples, target.form)
        runs += 1
        try:
            target.run(data)
        except Exception:
            found += 1
            traceback.print_exc()
            _keep(name, data)
            if found == 5:
                break
    sys.stdout.write(f"{name}: {runs} runs, {found} mistakes\n")
    return int(found > 0)


def _led(name: str, seconds: int, seed: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["distributor", "acme", "josepy", "dns", "zipfile"]):
        from tests.fuzz.changing import varied
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    samples = target.samples()

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            _keep(name, data)
            raise

    def change(data: bytes, size: int, number: int) -> bytes:
        random = Random(number)
        if number % 2 and data:
            return bytes(atheris.Mutate(data, size))
        known = (bytes(data),) if data and number % 8 else samples
        return varied(random, known, target.form)[:size]

    with tempfile.TemporaryDirectory() as folder:
        for number, sample in enumerate(samples):
            Path(folder, str(number)).write_bytes(sample)
        options = {
            "max_total_time": seconds,
            "timeout": 30,
            "rss_limit_mb": 2048,
            "max_len": LONGEST_INPUT,
            "seed": seed,
            "print_final_stats": 1,
            "artifact_prefix": f"{_folder(name)}/",
        }
        given = [f"-{option}={value}" for option, value in options.items()]
        atheris.Setup([name, *given, folder], once, custom_mutator=change)
        atheris.Fuzz()
    return 0


def _folder(name: str) -> Path:
    from tests.fuzz.targets import FOUND

    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep(name: str, data: bytes) -> None:
    path = _folder(name) / sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    sys.stderr.write(f"kept as {path}\n")


if __name__ == "__main__":
    sys.exit(main())
