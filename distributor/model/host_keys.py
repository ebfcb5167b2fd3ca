"""Whom to believe that it is the host by its SSH host key: never one that nobody has seen."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from distributor.model.errors import Untrusted
from distributor.model.text import printable

Basis = Literal["the inventory's host_key", "trust.toml", "known_hosts"]


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public key that an SSH server has: its type, and its fingerprint as OpenSSH prints it."""

    type: str
    """As known_hosts writes it: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, ..."""
    fingerprint: str
    """`SHA256:` and 43 characters of base64."""

    def __str__(self) -> str:
        return f"{printable(self.type)} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """What a person pinned for one host."""

    key: HostKey
    since: datetime


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What known_hosts says of one address."""

    keys: frozenset[HostKey] = frozenset()
    revoked: frozenset[HostKey] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyTrust:
    """Which host keys one host may show."""

    host: str
    """Who it is, for people."""
    fingerprints: frozenset[str]
    types: frozenset[str] = frozenset()
    """Types of these keys, so that the server is asked for one of them; empty: not known."""
    revoked: frozenset[str] = frozenset()
    """Fingerprints that known_hosts calls revoked."""
    basis: Basis = "trust.toml"
    cure: str | None = None
    """What a person does about a key that has changed; None: pin it by `distribute trust`."""

    def accepts(self, shown: HostKey) -> bool:
        """Tell whether the host may show this key."""
        return shown.fingerprint in self.fingerprints and shown.fingerprint not in self.revoked

    def check(self, shown: HostKey) -> None:
        """Raise Untrusted, which names both fingerprints, unless the host may show this key."""
        if self.accepts(shown):
            return
        if shown.fingerprint in self.revoked:
            raise Untrusted(
                f"{self.host} shows an SSH host key that known_hosts marks as revoked: {shown}",
                hint="somebody may sit in between: look at the host itself before anything else",
                step="trust",
            )
        wanted = ", ".join(sorted(self.fingerprints - self.revoked)) or "none that is not revoked"
        again = f"distribute trust {self.host} --fingerprint {shown.fingerprint}"
        if self.basis == "the inventory's host_key":
            again = "correct host_key in the inventory"
        cure = self.cure or again
        raise Untrusted(
            f"the SSH host key of {self.host} is not the one that is pinned: it shows {shown}, "
            f"but {self.basis} has {wanted}",
            hint=f"if you know why it changed: {cure}; if not, somebody may sit in between",
            step="trust",
        )


def host_key_trust_of(
    host: str, *, host_key: str | None, pinned: PinnedKey | None, known: KnownKeys
) -> HostKeyTrust:
    """Return which keys to believe: by the first basis that applies, alone.

    The bases are the inventory's `host_key`, the key in trust.toml, and known_hosts. What
    known_hosts calls revoked is never believed. Raises Untrusted when there is no basis.
    """
    revoked = _fingerprints(known.revoked)
    if host_key is not None:
        return HostKeyTrust(
            host=host,
            fingerprints=frozenset({host_key}),
            revoked=revoked,
            basis="the inventory's host_key",
        )
    if pinned is not None:
        return HostKeyTrust(
            host=host,
            fingerprints=frozenset({pinned.key.fingerprint}),
            types=frozenset({pinned.key.type}),
            revoked=revoked,
            basis="trust.toml",
        )
    if known.keys:
        return HostKeyTrust(
            host=host,
            fingerprints=_fingerprints(known.keys),
            types=frozenset(key.type for key in known.keys),
            revoked=revoked,
            basis="known_hosts",
        )
    raise Untrusted(
        f"the SSH host key of {host} was never pinned",
        hint=f"compare it with the box's own, then: distribute trust {host}",
        step="trust",
    )


def jump_trust_of(jump: str, known: KnownKeys) -> HostKeyTrust:
    """Return which keys to believe of an SSH server to go through: those of known_hosts.

    `jump` is `user@host:port`, for people. Raises Untrusted when known_hosts has none.
    """
    if not known.keys:
        raise Untrusted(
            f"the SSH host key of {jump} is not in known_hosts",
            hint="compare it with the host's own while you log in there once with ssh, which "
            "writes it down",
            step="trust",
        )
    return HostKeyTrust(
        host=jump,
        fingerprints=_fingerprints(known.keys),
        types=frozenset(key.type for key in known.keys),
        revoked=_fingerprints(known.revoked),
        basis="known_hosts",
        cure="take the old one out of known_hosts (ssh-keygen -R) and log in there once with ssh",
    )


def _fingerprints(keys: Collection[HostKey]) -> frozenset[str]:
    return frozenset(key.fingerprint for key in keys)


def pinning(
    host: str,
    shown: HostKey,
    *,
    fingerprint: str | None,
    host_key: str | None,
    pinned: PinnedKey | None,
    known: KnownKeys,
) -> Literal["nothing", "pin", "ask"]:
    """Return what is to be done so that `shown` is believed of `host` from now on.

    `fingerprint` is what a person gave to pin. "nothing": it is believed already; "pin": a person
    has said so, now or to ssh; "ask": nobody has. Raises Untrusted when it is another key than the
    one that a person gave or pinned, or than the inventory or known_hosts has.
    """
    if fingerprint is not None and fingerprint != shown.fingerprint:
        raise Untrusted(
            f"it shows another host key than {fingerprint}",
            hint="nothing was pinned; is the address right, and who answers there?",
            step="trust",
        )
    revoked = shown.fingerprint in _fingerprints(known.revoked)
    if host_key is None and pinned is None and not known.keys and not revoked:
        return "ask" if fingerprint is None else "pin"
    if fingerprint is None or host_key is not None or revoked:
        trust = HostKeyTrust(
            host=host, fingerprints=frozenset(), revoked=_fingerprints(known.revoked)
        )
        if not revoked:
            trust = host_key_trust_of(host, host_key=host_key, pinned=pinned, known=known)
        trust.check(shown)
        return "pin" if trust.basis == "known_hosts" else "nothing"
    return "pin"
