"""What `distribute show` is pointed at: any file, in any of the forms that it knows."""

import io
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from rich.console import Console

from distributor.cli.logs import _ConsoleHandler, _JsonHandler
from distributor.cli.looking_files import look_at_file
from distributor.cli.passphrase import Passphrase
from distributor.cli.shown import shown_as_json, shown_lines
from distributor.cli.ways import Ways
from distributor.model.errors import DistributorError
from tests.certs import NOW, hierarchy, pem
from tests.fuzz import certificates, devices, texts
from tests.fuzz.judging import MEMORY, Target, only, require_harmless_lines


@cache
def _root() -> bytes:
    return pem(hierarchy(0).root)


def _file(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        path, roots, secret = (Path(place, name) for name in ("file", "roots.pem", "secret"))
        path.write_bytes(data)
        roots.write_bytes(_root())
        secret.write_text(certificates._PASSPHRASE.reveal(), encoding="utf-8")
        secret.chmod(0o600)
        ways = Ways(passphrase=Passphrase(file=secret), ca_bundle=roots)
        written = io.StringIO()
        console = Console(file=written, no_color=True, highlight=False, markup=False, emoji=False)
        with only(DistributorError):
            for one in look_at_file(path, ways):
                for line in shown_lines(one, NOW):
                    console.print(line, soft_wrap=True)
                json.dumps(shown_as_json(one, NOW), allow_nan=False)
        require_harmless_lines(written.getvalue())


def _log(data: bytes) -> None:
    """Log it as text of the product's own, of an error, and of arguments."""
    text = data.decode("utf-8", "surrogateescape")
    written = io.StringIO()
    console = Console(file=written, no_color=True, highlight=False, markup=False, emoji=False)
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        kept = _JsonHandler(Path(place, "log.jsonl"))
        try:
            for handler in (_ConsoleHandler(console), kept):
                handler.handle(_record("said=%s", (text,), None))
                handler.handle(_record("failed", (), ValueError(text)))
        finally:
            kept.close()
        lines = Path(place, "log.jsonl").read_text("ascii").splitlines()
    require_harmless_lines(written.getvalue())
    assert [json.loads(line)["level"] for line in lines] == ["warning", "warning"]


def _record(message: str, arguments: tuple[str, ...], error: Exception | None) -> logging.LogRecord:
    trace = (type(error), error, None) if error is not None else None
    return logging.LogRecord(
        "distributor.fuzz", logging.WARNING, os.devnull, 1, message, arguments, trace
    )


TARGETS: Final[Mapping[str, Target]] = {
    "shown-pem": Target(harness=_file, samples=certificates._pems, form="pem"),
    "shown-der": Target(harness=_file, samples=certificates._ders),
    "shown-pkcs12": Target(harness=_file, samples=certificates._containers, examples=20),
    "shown-archive": Target(harness=_file, samples=devices._archives, form="zip"),
    "log": Target(harness=_log, samples=lambda: texts._TEXTS),
}
