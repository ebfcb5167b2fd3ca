"""installation: a random id of this state folder, by which locks on hosts are known as ours."""

import logging
import re
import secrets
from pathlib import Path
from typing import Final

from distributor.model.errors import StateError
from distributor.store import files

log = logging.getLogger(__name__)

_ID: Final = re.compile(rb"[0-9a-f]{32}\n")


class Installation:
    """The id of an installation: it stays, whatever its machine and folder are called."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def id(self) -> str:
        """Return the id, 32 hex digits; the first call makes it.

        Of several at once all return the same. Raises StateError when it cannot be read or written,
        or is damaged.
        """
        content = files.read(self._path)
        if content is None:
            files.create_once(self._path, f"{secrets.token_hex(16)}\n".encode("ascii"))
            content = files.read(self._path)
            log.info("state file=%s made=yes", self._path)
        if content is None or not _ID.fullmatch(content):
            raise StateError(
                f"{self._path} is damaged: it holds no id",
                hint="remove it while no run is at work: the next one makes another",
            )
        return content.decode("ascii").strip()
