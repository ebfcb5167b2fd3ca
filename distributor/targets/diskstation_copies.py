"""What entries of a DiskStation hold, to put it back: from the store, else exported."""

import logging
from collections.abc import Callable
from dataclasses import replace

from distributor.model.bundle import Bundle, assemble, fingerprint
from distributor.model.errors import (
    ApplyFailed,
    BundleError,
    DeviceRefused,
    DistributorError,
    ProtocolError,
    UnsafePlan,
)
from distributor.model.hazards import NOT_RESTORABLE, Foresight, Hazard
from distributor.model.plan import Plan
from distributor.model.state import CHAIN, LEAF, Address, FactValue
from distributor.protocol.archive import parse_export

log = logging.getLogger(__name__)

FindBundle = Callable[[str], Bundle | None]
"""Gives the bundle whose leaf has a fingerprint, if the store holds it."""
Export = Callable[[str], bytes]
"""Gives the archive of the entry with an id; raises a HostError."""


def foresee(plan: Plan, export: Export, find: FindBundle) -> Foresight:
    """Return whose key would be copied, and what could not be put back; exports to find out."""
    notes: list[str] = []
    found: list[Hazard] = []
    for address in _overwritten(plan):
        if _stored(plan, address, find) is not None:
            continue
        try:
            _exported(plan, address, export)
        except UnsafePlan as error:
            found.append(Hazard(NOT_RESTORABLE, error.message))
        else:
            notes.append(
                f"the key of {address} is copied to this computer (state folder), so that it can "
                "be put back"
            )
    return Foresight(notes=tuple(notes), hazards=tuple(found))


def kept_pairs(
    plan: Plan, export: Export, find: FindBundle, *, may_lose: bool
) -> dict[Address, Bundle]:
    """Return the pair of every entry that will be overwritten.

    Raises UnsafePlan for one that cannot be had, unless `may_lose`.
    """
    pairs: dict[Address, Bundle] = {}
    for address in _overwritten(plan):
        try:
            pairs[address] = _stored(plan, address, find) or _exported(plan, address, export)
        except UnsafePlan as error:
            if not may_lose:
                raise
            log.warning("host=%s step=snapshot kept=no reason=%s", plan.host, error.kind)
    return pairs


def _overwritten(plan: Plan) -> list[Address]:
    changed = {one.address for one in plan.changes if one.address.kind == "certificate"}
    return sorted(changed & plan.observed.facts.keys())


def _stored(plan: Plan, address: Address, find: FindBundle) -> Bundle | None:
    """Return what the entry holds, if the store has exactly that."""
    leaf = plan.observed.get(address, LEAF)
    stored = find(leaf) if isinstance(leaf, str) else None
    if stored is None:
        return None
    # The box may have lost the chain: what is put back is what it has, not what it should have.
    chain = tuple(fingerprint(link) for link in stored.chain)
    return stored if chain == plan.observed.get(address, CHAIN) else None


def _exported(plan: Plan, address: Address, export: Export) -> Bundle:
    try:
        archive = export(address.id)
    except DeviceRefused as error:
        raise _lost(address, error) from error
    try:
        pair = parse_export(archive)
        bundle = _as_served(
            assemble(certificate=pair.certificate, chain=pair.chain, private_key=pair.private_key),
            plan.observed.get(address, CHAIN),
        )
    except (ProtocolError, BundleError) as error:
        raise _lost(address, error) from error
    leaf = plan.observed.get(address, LEAF)
    if isinstance(leaf, str) and fingerprint(bundle.leaf) != leaf:
        raise ApplyFailed(
            f"{address} was exported, but is not what the box serves",
            hint="run again; if it stays so, restart the box's web server",
            step="snapshot",
        )
    return bundle


def _as_served(bundle: Bundle, chain: FactValue | None) -> Bundle:
    """Leave out what an export brings along but the box does not serve, such as its own CA."""
    if not isinstance(chain, tuple):
        return bundle
    return replace(bundle, chain=tuple(one for one in bundle.chain if fingerprint(one) in chain))


def _lost(address: Address, error: DistributorError) -> UnsafePlan:
    return UnsafePlan(
        f"what {address} holds could not be copied ({error.message}), so that it could not be put "
        "back",
        hazards=(NOT_RESTORABLE,),
        hint="bring it to the box as a new certificate: give the delivery a `description` of its "
        "own",
    )
