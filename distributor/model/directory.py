"""What an ACME CA says about itself in its directory (RFC 8555 section 7.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """What a CA offers and wants, before anything is asked of it; all text is printable."""

    profiles: Mapping[str, str] = field(default_factory=dict)
    """Name and description of each profile (draft-ietf-acme-profiles); empty when it has none."""
    external_account_required: bool = False
    terms_of_service: str | None = None
    """URL of what an account agrees to."""
    caa_identities: tuple[str, ...] = ()
    """What a CAA record has to name to let this CA issue."""
    has_renewal_info: bool = False
    """Whether it tells when to renew (RFC 9773), and so takes `replaces`."""
    has_key_change: bool = False
    """Whether an account may change its key (RFC 8555 section 7.3.5)."""
