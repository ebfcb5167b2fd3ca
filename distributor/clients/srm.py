"""The calls to a router's Web API that the product makes (dsm-web-api facts, section 4)."""

from distributor.clients.web_api import WebApiSession
from distributor.model.bundle import Bundle
from distributor.protocol import dsm, srm
from distributor.protocol.dsm_codes import LOGIN_REASONS


class SrmSession(WebApiSession):
    """A session with one Synology router, SRM 1.2 or 1.3."""

    needs = (dsm.AUTH, dsm.CERTIFICATE)
    wrong_device = "is this a Synology router, and is its account the first administrator's?"
    login_reasons = LOGIN_REASONS | {
        402: (
            "the account may not use the router's API",
            "use the account of the router's first administrator: SRM lets in no other",
        )
    }

    def certificate(self) -> srm.RouterCertificate:
        """Return what the router tells of its one certificate; waits for it while it restarts."""
        form = dsm.call_form(dsm.CERTIFICATE, "list")
        data = self._patiently(lambda: self._call(dsm.CERTIFICATE, form, "list"))
        return srm.parse_certificate(data)

    def export(self) -> bytes:
        """Return the zip with the pair."""
        return self._export()

    def import_bundle(self, bundle: Bundle) -> None:
        """Send an import once; it replaces the one certificate, so that repeating it is harmless.

        When Unreachable is raised the import may have worked.
        """
        self._import(
            srm.import_parts(
                private_key=bundle.private_key_pem.reveal().encode("ascii"),
                leaf=bundle.leaf_pem,
                chain=bundle.chain_pem,
            )
        )
