"""What a DiskStation's certificate files hold: entries, the copies that services use, and facts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from distributor.model.bundle import Certificate
from distributor.model.choice import names_of, services_behind
from distributor.model.endpoints import Served
from distributor.model.errors import HostError, ProtocolError
from distributor.model.state import (
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    DEVICE,
    ISSUED_BY,
    KEY,
    LEAF,
    MANAGED_BY,
    MODE,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    OWNER,
    RELOAD_OWED,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    Address,
    FactValue,
    State,
)
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.dsm_commands import ROUTER_FILES, Release, layer_folder, release_of
from distributor.protocol.dsm_info import (
    ARCHIVE,
    BoundService,
    InfoEntry,
    parse_default,
    parse_info,
)
from distributor.protocol.dsm_survey import Survey
from distributor.targets.diskstation_facts import one_leaf, same_chain, shown_by
from distributor.targets.dsm_folder import UNREAD, Folder, folders_of, published_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The certificate files of a box at one moment."""

    release: Release
    there: frozenset[str]
    """Those of the paths asked for that exist."""
    entries: tuple[InfoEntry, ...]
    default: str | None
    """The id that the archive names as default."""
    folders: Mapping[str, Folder]
    """Those that hold a file of a pair, by path."""
    layer: Mapping[str, tuple[str, ...]]
    """The leaves that the web server of DSM 7 reads, by folder of its own layer."""
    owed: frozenset[str]
    """Ids of entries whose files were being replaced when a run was cut off."""
    takes_unnamed: bool
    """Whether folders that INFO does not name belong to the entry whose leaf they hold."""

    def entry(self, entry_id: str) -> InfoEntry | None:
        """Return the entry with an id, or None."""
        return next((one for one in self.entries if one.id == entry_id), None)

    def bound(self, entry: InfoEntry) -> tuple[BoundService, ...]:
        """Return the services that use an entry and have a copy of it."""
        return tuple(one for one in entry.services if one.folder in self.folders)

    def unnamed(self, entry: InfoEntry) -> tuple[Folder, ...]:
        """Return folders that INFO gives to nobody and that hold the leaf of this entry alone.

        Those of Web Station were seen to be such: what it serves keeps the old certificate when
        they are left out (dsm-ssh facts 1.2, 7 no. 10). DSM's own import knows but what INFO names.
        """
        named = {one.folder for known in self.entries for one in known.services}
        mine = self._leaves(entry)
        others = {leaf for one in self.entries if one != entry for leaf in self._leaves(one)}
        return tuple(
            folder
            for path, folder in self.folders.items()
            if path not in named
            and not path.startswith(f"{ARCHIVE}/")
            and mine.intersection(folder.leaves)
            and not others.intersection(folder.leaves)
        )

    def copies(self, entry: InfoEntry) -> tuple[Folder, ...]:
        """Return the folders that have to hold the same as an entry, in the order of renewal.

        Those that INFO does not name come first: only as long as the archive holds the old leaf it
        is known that they belong to it.
        """
        own = (entry.folder, *(one.folder for one in entry.services))
        named = (self.folders[path] for path in own if path in self.folders)
        unnamed = self.unnamed(entry) if self.takes_unnamed else ()
        return (*unnamed, *named)

    def published(self, entry: InfoEntry) -> Iterator[str]:
        """Give the leaves that the web server reads in place of the copies of an entry.

        Whether DSM copies the chain there as it is, is not known: handshakes tell.
        """
        for folder in self.copies(entry):
            yield from self.layer.get(layer_folder(folder.path) or "", ())

    def _leaves(self, entry: InfoEntry) -> set[str]:
        folder = self.folders.get(entry.folder)
        return set() if folder is None else set(folder.leaves) - {UNREAD}


def tree_of(survey: Survey, *, takes_unnamed: bool) -> Tree:
    """Return what a survey found; raises ProtocolError when it is no DiskStation that is known."""
    release = release_of(survey.there)
    if survey.info is None or release is None:
        raise _unknown(survey)
    return Tree(
        release=release,
        there=survey.there,
        entries=parse_info(survey.info),
        default=parse_default(survey.default or b""),
        folders=folders_of(survey),
        layer=published_by(survey),
        owed=survey.owed,
        takes_unnamed=takes_unnamed,
    )


def address_of(entry: InfoEntry) -> Address:
    """Return the address of an entry."""
    return Address("certificate", entry.description, entry.id)


def observed_state(tree: Tree, served: Sequence[Served]) -> State:
    """Return entries, bindings, default and copies.

    The leaf of an entry is what its files, all copies of them, the web server's own and the
    endpoints that answer with it agree on; where they do not, it is all of them, so that the entry
    is brought anew. So it is where a run was cut off before it told what serves them.
    """
    facts: dict[Address, dict[str, FactValue]] = {}
    for entry in tree.entries:
        address, own = address_of(entry), tree.folders.get(entry.folder)
        facts[address] = _told(own) | {MANAGED_BY: _managed_by(entry, own)}
        for service in entry.services:
            place = Address("service", service.display_name, service.id)
            facts[place] = {CERTIFICATE: address} | _held(tree.folders.get(service.folder))
        for folder in tree.unnamed(entry) if tree.takes_unnamed else ():
            facts[Address("file", folder.path)] = {CERTIFICATE: address} | _held(folder)
    if f"{ARCHIVE}/DEFAULT" in tree.there:
        known = tree.entry(tree.default or "")
        facts[DEFAULT] = {CERTIFICATE: address_of(known) if known else UNREADABLE}
    shown = shown_by(State(facts), served)
    for address, untold in _untold(tree, State(facts), served):
        shown.setdefault(address, []).append(untold)
    for entry in tree.entries:
        address = address_of(entry)
        if facts[address][LEAF] is UNREADABLE:
            continue
        facts[address] |= _agreed(tree.copies(entry), tree.published(entry), shown.get(address, []))
        if entry.id in tree.owed:
            facts[address][LEAF] = (*_all(facts[address][LEAF]), RELOAD_OWED)
    return State(facts)


def owed_in(state: State) -> set[str]:
    """Return the ids of the entries that a state says a reload is owed to."""
    entries = state.of_kind("certificate")
    return {one.id for one in entries if RELOAD_OWED in _all(state.get(one, LEAF))}


def _untold(
    tree: Tree, state: State, served: Sequence[Served]
) -> Iterator[tuple[Address, Certificate]]:
    """Give what ports show that no service is known of: a leaf that no file holds any more.

    Its names tell which entry held it. So a custom domain is known, too, whose name INFO need not
    tell (dsm-ssh facts 1.1).
    """
    held = {leaf for folder in tree.folders.values() for leaf in folder.leaves}
    for one in served:
        shown = one.certificate
        if shown is None or shown.leaf in held or services_behind(state, one.endpoint):
            continue
        alike = [
            entry
            for entry in state.of_kind("certificate")
            if set(names_of(state, entry)) == set(shown.names)
        ]
        if len(alike) == 1:
            yield alike[0], shown


def _told(folder: Folder | None) -> dict[str, FactValue]:
    """Return what the certificate of an entry tells of itself."""
    shown = folder.shown if folder is not None else None
    if shown is None or shown.not_before is None or shown.not_after is None:
        unread = (LEAF, CHAIN, KEY, NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY)
        return dict.fromkeys(unread, UNREADABLE)
    return {
        LEAF: shown.leaf,
        NAMES: shown.names,
        NOT_BEFORE: rfc3339(shown.not_before),
        NOT_AFTER: rfc3339(shown.not_after),
        ISSUED_BY: shown.issued_by,
    }


def _all(value: FactValue | None) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    return (value,) if isinstance(value, str) else ()


def _agreed(
    folders: Sequence[Folder], published: Iterable[str], shown: Sequence[Certificate]
) -> dict[str, FactValue]:
    leaves = [leaf for one in folders for leaf in one.leaves] + [one.leaf for one in shown]
    leaves += published
    chains = [chain for one in folders for chain in one.chains] + [one.chain for one in shown]
    return {
        LEAF: one_leaf(leaves),
        CHAIN: same_chain(chains),
        KEY: _single(key for one in folders for key in one.keys),
    }


def _held(folder: Folder | None) -> dict[str, FactValue]:
    """Return what a copy holds by itself; nothing for a service that has none."""
    if folder is None:
        return {}
    is_read = UNREAD not in folder.leaves
    return {
        LEAF: one_leaf(folder.leaves) if is_read else UNREADABLE,
        CHAIN: same_chain(folder.chains) if is_read else UNREADABLE,
        KEY: _single(folder.keys),
        MODE: _single(seen.mode for seen in folder.pair.values()),
        OWNER: _single(seen.owner for seen in folder.pair.values()),
    }


def _single(values: Iterable[str]) -> FactValue:
    """Return the value that all have, else all of them; one that cannot be read is UNREADABLE."""
    distinct = tuple(sorted(set(values)))
    if distinct == (UNREAD,):
        return UNREADABLE
    return distinct[0] if len(distinct) == 1 else distinct


def _managed_by(entry: InfoEntry, folder: Folder | None) -> str:
    if folder is not None and folder.self_signed:
        return SELF_SIGNED
    by_box = not entry.user_deletable or (folder is not None and folder.renewed_by_box)
    return DEVICE if by_box else UPLOADED


def _unknown(survey: Survey) -> HostError:
    found = printable(", ".join(sorted(survey.there))) or "nothing of DSM"
    is_router = ROUTER_FILES in survey.there and f"{ARCHIVE}/INFO" not in survey.there
    return ProtocolError(
        f"its files and tools are those of no DSM that is known here; it has {found}",
        hint='a Synology router wants kind = "router"' if is_router else 'reach it by via = "api"',
        step="read",
    )
