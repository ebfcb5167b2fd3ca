"""The zip that an export gives (dsm-web-api facts §3.6)."""

import io
import zipfile
from typing import Literal

from distributor.lab.calls import Answer
from distributor.lab.material import Material


def archive_of(material: Material, dual: Literal["prefixed", "ecc", "rsa"]) -> Answer:
    """Return the answer with the files of one entry; `dual` says how two pairs are packed.

    The names are seen for a self-signed certificate and inferred for all others.
    """
    members = _members(material)
    if material.rsa_pair is not None:
        others = _members(material.rsa_pair)
        if dual == "rsa":
            members = others
        elif dual == "prefixed":
            members = {f"ECC-{name}": content for name, content in members.items()}
            members |= {f"RSA-{name}": content for name, content in others.items()}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            if content:
                packed.writestr(name, content)
    attachment = ("Content-Disposition", "attachment; filename=archive.zip")
    return Answer(200, "application/zip", archive.getvalue(), (attachment,))


def _members(files: Material) -> dict[str, bytes]:
    return {
        "cert.pem": files.cert_pem,
        "privkey.pem": files.key_pem,
        "chain.pem": files.chain_pem,
        "syno-ca-cert.pem": files.ca_cert_pem,
        "syno-ca-privkey.pem": files.ca_key_pem,
    }
