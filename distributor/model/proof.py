"""By what it is known that a host holds what it should, and where people look when it does not."""

from collections.abc import Sequence

from distributor.model.choice import resolve
from distributor.model.endpoints import Served
from distributor.model.hosts import Host
from distributor.model.report import Proof
from distributor.model.state import LEAF, UNREADABLE, State


def proof_of(state: State, desired: State, served: Sequence[Served]) -> Proof:
    """Return the strongest thing that is known; `state` is as `desired`, and so are the ports."""
    entries = resolve(state, desired)
    held = [entry for entry in entries.facts if entry.kind in {"certificate", "file"}]
    if any(state.get(entry, LEAF) is UNREADABLE for entry in held):
        return "dates"
    return "handshake" if served else "files"


def unproved(proof: Proof) -> tuple[str, ...]:
    """Return the warning that goes with a proof, if any."""
    if proof != "files":
        return ()
    return ("no endpoint proves what it serves, only what its files hold: add `endpoints`",)


def where_to_look(host: Host) -> str:
    """Return where a person looks at what a host holds."""
    if host.kind == "files":
        return "the files; copies of what they held lie beside them in .distribute"
    return "Control Panel > Security > Certificate"


def what_to_do(host: Host) -> str:
    """Return what a person does with a host that is neither as it was nor as it should be."""
    name = host.name
    return (
        f"look at the box: {where_to_look(host)}; and at what it serves: distribute status "
        f"--host {name} --services. Back to what it had (it lies in the state folder under "
        f"snapshots/{name}): distribute rollback {name}. On to the new certificate: "
        f"distribute --host {name}"
    )
