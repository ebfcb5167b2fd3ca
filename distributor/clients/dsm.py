"""The calls to a DiskStation's Web API that the product makes (dsm-web-api facts, section 3)."""

from collections.abc import Iterable, Sequence

from distributor.clients.web_api import WebApiSession
from distributor.model.bundle import Bundle
from distributor.protocol import dsm


class DsmSession(WebApiSession):
    """A session with one DiskStation, DSM 6.2 or 7."""

    needs = (dsm.AUTH, dsm.CERTIFICATE, dsm.CRT, dsm.SERVICE)
    wrong_device = 'is this a DiskStation with DSM 6.2 or 7? A router wants kind = "router"'

    @property
    def is_version_6(self) -> bool:
        """Whether the box speaks as DSM 6 does: its newest login is version 6."""
        return dsm.login_version(self._auth) < dsm.NEWEST_LOGIN

    def certificates(self) -> tuple[dsm.Entry, ...]:
        """Return what the box lists; waits for it while it restarts."""
        form = dsm.call_form(dsm.CRT, "list")
        return dsm.parse_list(self._patiently(lambda: self._call(dsm.CRT, form, "list")))

    def export(self, entry_id: str) -> bytes:
        """Return the zip with the pair of one entry."""
        return self._export(id=entry_id)

    def import_bundle(
        self, bundle: Bundle, *, entry_id: str, description: str, as_default: bool
    ) -> str | None:
        """Send an import once, and return the id that the box answered, if it did.

        `entry_id` empty makes a new entry. It is never repeated here: when Unreachable is raised
        the import may have worked, and the caller has to look.
        """
        data = self._import(
            dsm.import_parts(
                private_key=bundle.private_key_pem.reveal().encode("ascii"),
                leaf=bundle.leaf_pem,
                chain=bundle.chain_pem,
                entry_id=entry_id,
                description=description,
                as_default=as_default,
            )
        )
        identifier = data.get("id")
        return identifier if isinstance(identifier, str) and identifier else None

    def move(self, moves: Sequence[dsm.Move]) -> None:
        """Move services to other entries; moving one to where it is already is left out.

        DSM 6 was seen to drop the binding altogether in that case (dsm-web-api facts 3.5). Like an
        import it is sent once: each move names the entry that the service leaves, which it may
        have left when the answer was lost.
        """
        needed = [move for move in moves if move.old_id != move.new_id]
        if needed:
            form = dsm.call_form(dsm.SERVICE, "set", settings=dsm.moves_value(needed))
            self._write(dsm.SERVICE, form, "bind")

    def make_default(self, entry_id: str, description: str) -> None:
        """Make an entry the default; its description has to be sent along, or it is lost."""
        form = dsm.call_form(dsm.CRT, "set", id=entry_id, desc=description, as_default=True)
        self._waiting(lambda: self._write(dsm.CRT, form, "default"))

    def delete(self, entry_ids: Iterable[str]) -> None:
        """Remove entries; sent once, since an entry that is gone cannot be removed again."""
        self._write(dsm.CRT, dsm.call_form(dsm.CRT, "delete", ids=list(entry_ids)), "delete")
