"""Which PEM files a host wants, what each of them tells, and what each is to hold. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from distributor.clients.shell import FileFacts
from distributor.model.bundle import Bundle, Certificate
from distributor.model.hosts import PemPaths
from distributor.model.state import (
    CHAIN,
    KEY,
    LEAF,
    MODE,
    OWNER,
    UNREADABLE,
    Address,
    FactValue,
)
from distributor.targets.pem_facts import (
    OF_CERTIFICATES,
    certificates_of,
    facts_of,
    facts_wanted,
    is_pair,
    key_of,
    with_served,
)

Role = Literal["fullchain", "leaf", "chain", "private_key", "combined"]

# The key first: a program that reads the files by itself finds the new certificate only when the
# key is there. Where it reads them in between all the same, it refuses the pair and keeps the old.
_ORDER: Final[tuple[Role, ...]] = ("private_key", "chain", "leaf", "combined", "fullchain")
_WITH_LEAF: Final[frozenset[Role]] = frozenset({"fullchain", "leaf", "combined"})
_WITH_CHAIN: Final = frozenset({"fullchain", "chain", "combined"})
_WITH_KEY: Final[frozenset[Role]] = frozenset({"private_key", "combined"})
_OTHERS: Final = 0o007


@dataclass(frozen=True, slots=True)
class PemFile:
    """One file of a host, and what it is for."""

    role: Role
    path: str

    @property
    def address(self) -> Address:
        """What a person would point at."""
        return Address("file", self.path)

    def content(self, bundle: Bundle) -> bytes:
        """Return what it is to hold."""
        key = bundle.private_key_pem.reveal().encode("ascii")
        return {
            "fullchain": bundle.fullchain_pem,
            "leaf": bundle.leaf_pem,
            "chain": bundle.chain_pem,
            "private_key": key,
            "combined": bundle.fullchain_pem + key,
        }[self.role]

    def wanted(self, certificate: Certificate) -> dict[str, FactValue]:
        """Return the facts of it when it holds that; a forecast has neither chain nor key."""
        facts: dict[str, FactValue] = {}
        if self.role in _WITH_LEAF:
            facts |= facts_wanted(certificate)
        if self.role == "leaf":
            facts[CHAIN] = ()
        if self.role == "chain" and not certificate.is_forecast:
            facts[CHAIN] = certificate.chain
        if self.role in _WITH_KEY and not certificate.is_forecast:
            facts[KEY] = certificate.key
        return facts


@dataclass(frozen=True, slots=True)
class Held:
    """One file as it was seen; `content` None is that it could not be read."""

    file: PemFile
    there: FileFacts
    content: bytes | None = field(repr=False)

    def facts(self, owner: str | None) -> dict[str, FactValue]:
        """Return what it tells; its owner in the words of `owner`, where that is given."""
        told: dict[str, FactValue] = {
            MODE: self.there.mode,
            OWNER: _owner_as(self.there, owner),
        }
        if self.content is None:
            return told | dict.fromkeys(self._kinds(), UNREADABLE)
        found = certificates_of(self.content)
        if self.file.role in _WITH_LEAF:
            told |= facts_of(found)
        elif self.file.role == "chain":
            links = facts_of(found)
            told[CHAIN] = (
                UNREADABLE
                if found is None or links.get(LEAF) is UNREADABLE
                else _fingerprints(links)
            )
        if self.file.role in _WITH_KEY:
            told[KEY] = key_of(self.content) or UNREADABLE
        return told

    def _kinds(self) -> tuple[str, ...]:
        kinds: tuple[str, ...] = OF_CERTIFICATES if self.file.role in _WITH_LEAF else ()
        kinds += (CHAIN,) if self.file.role == "chain" else ()
        return (*kinds, KEY) if self.file.role in _WITH_KEY else kinds


def pem_files(paths: PemPaths) -> tuple[PemFile, ...]:
    """Return the files of a host, in the order in which they are put in place."""
    return tuple(_files(paths))


def is_servable(held: Mapping[PemFile, Held | None]) -> bool:
    """Tell whether leaf and key are there, and a pair in each file that is there.

    A file that is missing beside these says nothing: what is served may never have read it.
    """
    there = {file: one for file, one in held.items() if one is not None}
    if any(one.content is None for one in there.values()):
        return False
    if not all(any(file.role in kind for file in there) for kind in _kinds_of(held)):
        return False
    contents = [(file.role, one.content or b"") for file, one in there.items()]
    leaves = [certificates_of(content) for role, content in contents if role in _WITH_LEAF]
    keys = [key_of(content) for role, content in contents if role in _WITH_KEY]
    return all(leaves) and all(is_pair(leaf, key) for leaf in leaves for key in keys)


def may_be_down(held: Mapping[PemFile, Held | None]) -> bool:
    """Tell whether a program could lack something among these files that keeps it from starting."""
    return any(one is None for one in held.values()) or not is_servable(held)


def first_key_mode(file: PemFile, held: Held | None) -> str | None:
    """Return the mode for a file that held no key before others could read it; None to keep it."""
    if file.role not in _WITH_KEY or held is None or held.content is None:
        return None
    mode = int(held.there.mode, 8)
    if not mode & _OTHERS or key_of(held.content) is not None:
        return None
    return f"{mode & ~_OTHERS:04o}"


def facts_by_file(
    seen: Mapping[PemFile, Held | None], owner: str | None, shown: Sequence[Certificate]
) -> dict[PemFile, dict[str, FactValue]]:
    """Return what each file tells that is there, with what ports show that no file holds.

    Where no server could start with the files, what a port shows says nothing of them.
    """
    told = {file: held.facts(owner) for file, held in seen.items() if held is not None}
    if not is_servable(seen):
        return told
    leaves = {facts.get(LEAF) for facts in told.values()}
    chains = {facts.get(CHAIN) for facts in told.values()}
    astray = [one for one in shown if one.leaf not in leaves or one.chain not in chains]
    for file, facts in told.items():
        merged = with_served(facts, astray)
        # Where a file is for the leaf alone, the chain comes from another one.
        told[file] = {**merged, CHAIN: facts[CHAIN]} if file.role == "leaf" else merged
    return told


def _files(paths: PemPaths) -> Iterator[PemFile]:
    for role in _ORDER:
        path: str | None = getattr(paths, role)
        if path is not None:
            yield PemFile(role, path)


def _kinds_of(files: Iterable[PemFile]) -> Iterator[frozenset[Role]]:
    """Return which roles of a pair these files have, each of which one file has to play."""
    roles = {file.role for file in files}
    return (kind for kind in (_WITH_LEAF, _WITH_KEY) if roles & kind)


def _fingerprints(links: Mapping[str, FactValue]) -> FactValue:
    first, rest = links.get(LEAF), links.get(CHAIN)
    return (first, *rest) if isinstance(first, str) and isinstance(rest, tuple) else ()


def _owner_as(there: FileFacts, asked: str | None) -> str:
    """Return the owner by names; where numbers, or the user alone, are asked for, in that shape."""
    if asked is None:
        return there.owner
    user, _, group = there.owner.rpartition(":")
    parts = []
    for word, name, number in zip(
        asked.split(":"), (user, group), (there.uid, there.gid), strict=False
    ):
        parts.append(str(number) if word.isdigit() else name)
    return ":".join(parts)
