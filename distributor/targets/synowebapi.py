"""DSM's own certificate calls, made by root on the box itself: `synowebapi`.

It takes the paths of files, so that no key stands on a command line. That it imports was measured
on DSM 7.3; earlier versions have the program (dsm-ssh fact 10).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from distributor.clients.shell import Shell
from distributor.model.bundle import Bundle
from distributor.model.errors import DeviceRefused, Unreachable
from distributor.protocol import dsm
from distributor.protocol.dsm_commands import webapi_answer, webapi_command
from distributor.targets.remote_lock import RemoteLock

_SECONDS: Final = 600.0
"""An import copies, and restarts what uses the certificate, before it answers."""


class Synowebapi:
    """The calls that deliveries need (`diskstation_calls.Calls`), each made once."""

    def __init__(self, shell: Shell, lock: RemoteLock, folder: str) -> None:
        """`folder` is root's own: keys lie there while DSM reads them."""
        self._shell = shell
        self._lock = lock
        self._folder = folder

    def certificates(self) -> tuple[dsm.Entry, ...]:
        """Return what the box lists."""
        return dsm.parse_list(self._call(dsm.CRT, "list"))

    def import_bundle(
        self, bundle: Bundle, *, entry_id: str, description: str, as_default: bool
    ) -> str | None:
        """Have a pair imported, and return the id that DSM answered, if it did."""
        contents = {
            "key_tmp": bundle.private_key_pem.reveal().encode("ascii"),
            "cert_tmp": bundle.leaf_pem,
            "inter_cert_tmp": bundle.chain_pem,
        }
        paths: dict[str, str] = {}
        try:
            for name, content in contents.items():
                if content:
                    paths[name] = self._shell.stage(f"{self._folder}/{name}", content, as_root=True)
            # A text, not a truth value, and only when it is wanted (dsm-web-api facts 3.2).
            default = {"as_default": "true"} if as_default else {}
            words = {"id": entry_id, "desc": description}
            data = self._call(dsm.CERTIFICATE, "import", **paths, **words, **default)
        finally:
            self._shell.remove(list(paths.values()), as_root=True)
        identifier = data.get("id")
        return identifier if isinstance(identifier, str) and identifier else None

    def move(self, moves: Sequence[dsm.Move]) -> None:
        """Move services to other entries; moving one to where it is already is left out."""
        needed = [move for move in moves if move.old_id != move.new_id]
        if needed:
            self._call(dsm.SERVICE, "set", settings=dsm.moves_value(needed))

    def make_default(self, entry_id: str, description: str) -> None:
        """Make an entry the default; its description has to be sent along, or it is lost."""
        self._call(dsm.CRT, "set", id=entry_id, desc=description, as_default=True)

    def delete(self, entry_ids: Iterable[str]) -> None:
        """Remove entries."""
        self._call(dsm.CRT, "delete", ids=list(entry_ids))

    def _call(self, api: str, method: str, **values: object) -> dict[str, Any]:
        result = self._lock.run(webapi_command(api, method, **values), seconds=_SECONDS)
        if result.status is None:
            raise Unreachable(
                f"the connection was lost before DSM answered ({api} {method})",
                hint="look at the host: what was begun may have been done",
                step="synowebapi",
            )
        answer = webapi_answer(result.status, result.stdout, result.words)
        if isinstance(answer, dsm.Refusal):
            raise DeviceRefused(
                f"synowebapi {api} {method}: {answer.meaning} (code {answer.code})",
                hint=answer.hint,
                step="synowebapi",
                code=answer.code,
            )
        return answer
