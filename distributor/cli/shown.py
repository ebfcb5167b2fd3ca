"""What `distribute show` found, and how it prints it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509
    from rich.text import Text

    from distributor.model.bundle import Certificate
    from distributor.model.chain import Chain
    from distributor.model.errors import DistributorError
    from distributor.model.revocation import Revocation

FILES = (
    "In files: cert.pem is the leaf; chain.pem the intermediates in this order, which DSM calls "
    "intermediate certificate; fullchain.pem both; privkey.pem the key. The root is in none."
)
"""The forum's question, answered once per command."""
_INDENT = " " * 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One thing that was looked at."""

    what: str
    certificates: "tuple[x509.Certificate, ...]"
    """As they stand there; empty for a certificate that there is none of yet."""
    chain: "Chain | None"
    error: "DistributorError | None" = None
    """Why nothing can be shown of it."""
    roots: str = ""
    """Where the roots come from that the chain is judged by."""
    holds: str = ""
    """What a file is, in words."""
    key_fits: bool | None = None
    """Whether the private key that came along belongs to the leaf; None where none did."""
    server_name: str | None = None
    """The name that a port was asked for."""
    notes: tuple[str, ...] = ()
    renewal: str | None = None
    """For a certificate of the inventory: when it is due and why."""
    budget: tuple[str, ...] = ()
    """For a certificate of the inventory: what its CA's rate limits leave."""
    version: str | None = None
    """The one of `versions` that is shown."""
    versions: tuple[str, ...] = ()
    revoked: "Mapping[str, Revocation]" = field(default_factory=dict)
    """Those of `versions` that were revoked."""

    @property
    def leaf(self) -> "x509.Certificate | None":
        """The leaf, wherever it stands; None where there is none."""
        if self.chain is None or self.chain.leaf_at is None:
            return None
        return self.certificates[self.chain.leaf_at]

    def about(self) -> "Certificate | None":
        """Return what may be shown of the leaf."""
        from distributor.model.bundle import describe

        return describe((self.leaf,), self.what) if self.leaf is not None else None

    def covers_server_name(self) -> bool | None:
        """Tell whether the leaf is valid for the name that was asked for; None without one."""
        from distributor.model.bundle import covers

        about = self.about()
        if about is None or self.server_name is None:
            return None
        return covers(about.names, self.server_name)


def shown_lines(one: Shown, now: datetime) -> "Iterator[Text]":
    """Give the lines of one thing."""
    from rich.text import Text

    from distributor.model.text import printable
    from distributor.render.text import error_lines

    yield Text(printable(one.what), style="bold")
    if one.error is not None:
        yield from error_lines(one.error, "    ")
    if one.holds:
        yield Text(f"    holds    {one.holds}")
    yield from _leaf_lines(one, now)
    if one.chain is not None:
        yield from _chain_lines(one.chain, one.roots)
    if one.key_fits is not None:
        said = "fits the leaf" if one.key_fits else "belongs to another certificate"
        yield Text(f"    privkey  {said}", style="" if one.key_fits else "red")
    for note in one.notes:
        yield Text(f"    note     {printable(note, 1000)}", style="yellow")
    if one.version is not None and one.version in one.revoked:
        yield Text(f"    revoked  {one.revoked[one.version]}", style="red")
    if one.renewal is not None:
        yield Text(f"    renewal  {one.renewal}")
    for line in one.budget:
        yield Text(f"    budget   {line}")
    if one.versions:
        yield Text(f"    held     {', '.join(_version_words(one))}")


def _leaf_lines(one: Shown, now: datetime) -> "Iterator[Text]":
    from rich.text import Text

    from distributor.model.text import printable
    from distributor.render.words import days_left

    about = one.about()
    if about is None or about.not_before is None or about.not_after is None:
        return
    names = ", ".join(printable(name) for name in about.names) or "(none)"
    yield Text(f"    leaf     {about.leaf}")
    line = Text(f"    names    {names}")
    if one.covers_server_name() is False:
        line.append(f" (not {printable(one.server_name)})", style="red")
    yield line
    yield Text(f"    key      {about.key_type}, {about.key}")
    begins, ends = about.not_before, about.not_after
    yield Text(f"    valid    {begins:%Y-%m-%d} to {ends:%Y-%m-%d} ({days_left(ends, now)})")


def _chain_lines(chain: "Chain", roots: str) -> "Iterator[Text]":
    from rich.text import Text

    yield Text(f"    chain    {chain.verdict}")
    if chain.is_complete and chain.leaf_at is not None:
        yield Text(f"{_INDENT}{_explained(chain, roots)}")
    for link in chain.links:
        yield Text(
            f"{_INDENT}{link.role:12} {link.subject}, signed by {link.issuer}, "
            f"until {link.not_after:%Y-%m-%d}"
        )
    for finding in chain.findings:
        yield Text(f"{_INDENT}! {finding.name}: {finding.text}", style="yellow")


def _explained(chain: "Chain", roots: str) -> str:
    count = chain.intermediates
    lead = f"{count} intermediate{'s' * (count != 1)}" if count else "no intermediate is needed"
    sent = "is sent, too" if chain.is_root_sent else "is not sent"
    return f"{lead}; the root {chain.root} is {roots}, and {sent}"


def _version_words(one: Shown) -> Iterator[str]:
    for version in one.versions:
        noted = one.revoked.get(version)
        yield version if noted is None else f"{version} (revoked: {noted.reason})"


def shown_as_json(one: Shown, now: datetime) -> dict[str, Any]:
    """Return one thing as plain data."""
    from distributor.model.times import rfc3339
    from distributor.render.as_json import error_as_json

    data: dict[str, Any] = {
        "what": one.what,
        "chain": None,
        "error": error_as_json(one.error),
        "notes": list(one.notes),
        "budget": list(one.budget),
    }
    about = one.about()
    if about is not None and about.not_before is not None and about.not_after is not None:
        data |= {
            "leaf": about.leaf,
            "names": list(about.names),
            "common_name": about.common_name,
            "issuer": about.issued_by,
            "key_type": about.key_type,
            "key": about.key,
            "not_before": rfc3339(about.not_before),
            "not_after": rfc3339(about.not_after),
            "days_left": int((about.not_after - now).total_seconds() // 86400),
        }
    if one.chain is not None:
        data |= {
            "chain": _chain_as_json(one.chain, one.roots),
            "holds": one.holds or None,
            "key_fits": one.key_fits,
            "server_name": one.server_name,
            "covers_server_name": one.covers_server_name(),
            "revoked": {
                version: {"when": rfc3339(noted.when), "reason": noted.reason}
                for version, noted in one.revoked.items()
            },
        }
    return data | {"renewal": one.renewal, "versions": list(one.versions)}


def _chain_as_json(chain: "Chain", roots: str) -> dict[str, Any]:
    from distributor.model.times import rfc3339

    missing = chain.missing
    return {
        "complete": chain.is_complete,
        "root": chain.root,
        "root_sent": chain.is_root_sent,
        "roots": roots,
        "intermediates": chain.intermediates,
        "verdict": chain.verdict,
        "missing": None
        if missing is None
        else {"issuer": missing.issuer, "of": missing.of, "url": missing.url},
        "findings": [{"name": one.name, "text": one.text} for one in chain.findings],
        "links": [
            {
                "role": link.role,
                "subject": link.subject,
                "issuer": link.issuer,
                "fingerprint": link.fingerprint,
                "not_after": rfc3339(link.not_after),
            }
            for link in chain.links
        ],
    }
