"""What somebody else does on a virtual DiskStation between two of our visits."""

import json
from typing import Any, Final

from distributor.model.bundle import Bundle
from tests.contract.ssh_diskstation_box import SERVICES, DiskstationBox, issued_of
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box_tree import Entry, Item

_DIRECTORIES: Final = {one.key: one.directory for one in SERVICES.values()}
_AROUND: Final = "/opt/box/meddling"
# $1 is where the pair lies; the others are folders whose files it replaces, owner and mode kept.
_COPY: Final = """\
from=$1; shift
for folder do
  [ -d "$folder" ] || continue
  for name in cert chain fullchain privkey; do
    cat "$from/$name.pem" >"$folder/$name.pem" || exit 1
  done
done
"""


def bring(box: DiskstationBox, entry_id: str, description: str, bundle: Bundle) -> None:
    """Make an entry that nothing uses."""
    entry = Entry(id=entry_id, desc=description, pair=issued_of(bundle))
    box.place(*tree.pair_items(f"{tree.ARCHIVE}/{entry_id}", entry))
    _write_info(box, box.info() | json.loads(tree.info_text((entry,), box.release)))


def bind(box: DiskstationBox, service: str, entry_id: str, bundle: Bundle) -> None:
    """Let a service use an entry that holds `bundle`."""
    info, moved = box.info(), []
    for entry in info.values():
        keys = [f"{one['subscriber']}/{one['service']}" for one in entry["services"]]
        moved += [one for one, key in zip(entry["services"], keys, strict=True) if key == service]
        entry["services"] = [one for one in entry["services"] if one not in moved]
    info[entry_id]["services"] += moved
    _write_info(box, info)
    _fill(box, bundle, _DIRECTORIES.get(service, "/nowhere"))
    box.publish()
    box.settle(10.0)


def replace(box: DiskstationBox, entry_id: str, bundle: Bundle) -> None:
    """Give an entry and what uses it another content."""
    used = box.info()[entry_id]["services"]
    keys = [f"{one['subscriber']}/{one['service']}" for one in used]
    places = (_DIRECTORIES[key] for key in keys if key in _DIRECTORIES)
    _fill(box, bundle, f"{tree.ARCHIVE}/{entry_id}", *places)
    box.publish()
    box.settle(10.0)


def _fill(box: DiskstationBox, bundle: Bundle, *folders: str) -> None:
    entry = Entry(id="since", desc="", pair=issued_of(bundle))
    box.place(*tree.pair_items(_AROUND, entry))
    done = box.run("/bin/sh", "-c", _COPY, "sh", _AROUND, *folders)
    box.remove(_AROUND)
    if done.returncode:
        raise RuntimeError(f"nothing was brought: {done}")


def _write_info(box: DiskstationBox, info: dict[str, Any]) -> None:
    text = json.dumps(info, indent=3, separators=(",", " : "), sort_keys=True) + "\n"
    box.place(Item(path=tree.INFO, content=text.encode(), mode=0o600))
