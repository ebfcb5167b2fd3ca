"""When a CA suggested to renew each certificate, and before when it is not to be asked again."""

import json
import logging
from datetime import datetime
from pathlib import Path

from distributor.model.renewal_window import RenewalInfo
from distributor.model.times import from_rfc3339, rfc3339
from distributor.store.files import DAMAGED, read, text, write

log = logging.getLogger(__name__)

_FILE = "window.json"


class Windows:
    """`certificates/NAME/window.json`; in a dry run (`persist` false) nothing is written."""

    def __init__(self, folder: Path, *, persist: bool) -> None:
        self._folder = folder
        self._persist = persist

    def find(self, name: str, leaf: str) -> RenewalInfo | None:
        """Return what the CA last said of the certificate with that leaf, or None.

        None, with a warning, for a file that is damaged: the CA is asked again.
        """
        path = self._folder / name / _FILE
        written = read(path)
        if written is None:
            return None
        try:
            data = json.loads(written)
            if data["leaf"] != leaf:
                return None
            url = data["explanation_url"]
            return RenewalInfo(
                start=from_rfc3339(data["start"]),
                end=from_rfc3339(data["end"]),
                explanation_url=None if url is None else text(url),
                ask_again=from_rfc3339(data["ask_again"]),
            )
        except DAMAGED:
            log.warning("window file=%s damaged: the CA is asked again", path)
            return None

    def note(self, name: str, leaf: str, info: RenewalInfo) -> RenewalInfo:
        """Keep what the CA said; return it as it will be found, in whole seconds."""
        kept = RenewalInfo(
            start=_whole(info.start),
            end=_whole(info.end),
            explanation_url=info.explanation_url,
            ask_again=_whole(info.ask_again),
        )
        if self._persist:
            data = {
                "version": 0,
                "leaf": leaf,
                "start": rfc3339(kept.start),
                "end": rfc3339(kept.end),
                "explanation_url": kept.explanation_url,
                "ask_again": rfc3339(kept.ask_again),
            }
            write(self._folder / name / _FILE, json.dumps(data, indent=1).encode("utf-8"))
        return kept


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
