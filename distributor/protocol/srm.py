"""The Web API of a Synology router where it differs from DSM's (dsm-web-api facts, section 4).

A router has one certificate, without id, description, dates or alternative names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributor.model.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class RouterCertificate:
    """What a router tells of the one certificate that it serves everywhere."""

    common_name: str
    issued_by: str
    renewable: bool
    """SRM renews it by itself."""
    own_ca: bool
    """The router signed it with a CA of its own."""


def parse_certificate(data: Mapping[str, Any]) -> RouterCertificate:
    """Return the server certificate of SRM's list; raises ProtocolError for anything else."""
    try:
        listed = data["certificates"]
        server = next(item for item in listed if item["type"] == "server_cert")
        roots = [item["subject"] for item in listed if item["type"] == "root_cert"]
        return RouterCertificate(
            common_name=str(server["subject"].get("common_name", "")),
            issued_by=str(server["issuer"].get("common_name", "")),
            renewable=bool(data.get("renewable", False)),
            own_ca=server["issuer"] in roots,
        )
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ProtocolError(
            "its list of certificates is not as a router gives it",
            hint="is this a Synology router?",
            step="web api",
        ) from error
