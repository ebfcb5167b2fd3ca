"""The directory of an ACME CA (RFC 8555 section 7.1.1): where to ask, and what it offers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distributor.clients import acme_external_account, acme_orders
from distributor.clients.acme_errors import FOREIGN, translate
from distributor.clients.acme_network import Network
from distributor.model.directory import DirectoryFacts
from distributor.model.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """URLs of a CA's resources, None for what it does not offer, and the facts about it."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke: str | None
    key_change: str | None
    renewal_info: str | None
    facts: DirectoryFacts


def read_directory(network: Network, url: str) -> Directory:
    """Ask for the directory; JSON of another shape raises one of `acme_errors.FOREIGN`."""
    document = network.read(url).json()
    meta = document.get("meta") or {}
    return Directory(
        new_nonce=_required(document, "newNonce"),
        new_account=_required(document, "newAccount"),
        new_order=_required(document, "newOrder"),
        revoke=_url(document, "revokeCert"),
        key_change=_url(document, "keyChange"),
        renewal_info=_url(document, "renewalInfo"),
        facts=DirectoryFacts(
            profiles={
                printable(name): printable(about)
                for name, about in (meta.get("profiles") or {}).items()
            },
            external_account_required=meta.get("externalAccountRequired") is True,
        ),
    )


def directory_facts(url: str, *, ca_bundle: Path | None) -> DirectoryFacts:
    """Return what the CA at `url` says about itself; no account is needed.

    Raises IssuanceError with the reason when there is no directory to be read over HTTPS that is
    trusted.
    """
    network = Network(None, ca_bundle=ca_bundle, sleep=time.sleep)
    try:
        return read_directory(network, url).facts
    except FOREIGN as error:
        raise translate(error, url, datetime.now(UTC), "directory") from error
    finally:
        network.close()


def require_ca(url: str, *, ca_bundle: Path | None, profile: str | None, is_bound: bool) -> None:
    """Return when the CA at `url` can be reached, and would take an order of that profile.

    `is_bound` says that an external account is set. Raises IssuanceError with the reason. No
    account is needed, and nothing is asked for.
    """
    facts = directory_facts(url, ca_bundle=ca_bundle)
    if facts.external_account_required and not is_bound:
        raise acme_external_account.required(url)
    if profile is not None:
        acme_orders.require_profile(profile, facts.profiles, url)


def _required(document: Mapping[str, Any], name: str) -> str:
    url = _url(document, name)
    if url is None:
        raise KeyError(name)
    return url


def _url(document: Mapping[str, Any], name: str) -> str | None:
    """Return a URL, or None when there is none (some CAs leave an empty text)."""
    value = document.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise TypeError(name)
    return value
