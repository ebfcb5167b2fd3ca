"""What an ACME CA says about itself in its directory (RFC 8555 section 7.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """What a CA offers and wants, before anything is asked of it; all text is printable."""

    profiles: Mapping[str, str] = field(default_factory=dict)
    """Name and description of each profile (draft-ietf-acme-profiles); empty when it has none."""
    external_account_required: bool = False
