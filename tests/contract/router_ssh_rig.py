"""A rig around a virtual router that is reached by SSH as root: one certificate in three files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from distributor.lab.factory import factory_certificate
from distributor.lab.material import Material
from distributor.model.bundle import Bundle
from distributor.model.hosts import Endpoint, Host, SocketAddress
from distributor.targets.contract import Target
from distributor.targets.router_facts import ENTRY
from distributor.targets.router_ssh import RouterSsh
from tests.contract.scenarios import OWN_PORT, STRANGERS, Placed, Scenario, ours
from tests.contract.ssh_rig import CONTROLLER, SshRig
from tests.contract.target_laws import Raw, RawEntry
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_tree import Item

SSL = "/usr/syno/etc/ssl"
LEAF_FILE = f"{SSL}/ssl.crt/server.crt"
KEY_FILE = f"{SSL}/ssl.key/server.key"
CHAIN_FILE = f"{SSL}/ssl.intercrt/server-ca.crt"


@cache
def factory() -> Material:
    return factory_certificate("gate", is_router=True)


class RouterSshRig(SshRig):
    def __init__(self, box: SshBox, scenario: Scenario, folder: Path) -> None:
        super().__init__(box, scenario, folder)
        self.host = Host(
            name="gate",
            kind="router",
            via="ssh",
            address="127.0.0.1",
            access=self.access(box.root, by="password"),
            deliveries=scenario.deliveries,
            endpoints=tuple(
                Endpoint(
                    address=SocketAddress("127.0.0.1", box.ports["dsm"]),
                    certificate=certificate,
                    server_name=None if name == OWN_PORT else "example.test",
                )
                for name, certificate in scenario.proved.items()
            ),
        )

    @property
    def held(self) -> Sequence[str]:
        return (LEAF_FILE, KEY_FILE, CHAIN_FILE)

    @property
    def around(self) -> str:
        return "/usr/syno"

    def fullchain(self, held: Mapping[str, bytes]) -> bytes:
        return held[LEAF_FILE] + held[CHAIN_FILE]

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        assert entry_id == ENTRY.id
        for path, content in _contents(ours(bundle)).items():
            self.overwrite(path, content)
        self.box.restart_web()

    def target(self) -> Target:
        return RouterSsh(
            self.host, self.connect, lambda: datetime.now(UTC), controller=lambda: CONTROLLER
        )

    def raw(self) -> Raw:
        self.rest()
        leaf, behind, _ = self.pem(LEAF_FILE)
        first, rest, _ = self.pem(CHAIN_FILE)
        facts = self.box.files(self.around)
        entry = RawEntry(
            ENTRY.name,
            leaf,
            (*behind, first, *rest),
            self.pem(KEY_FILE)[2],
            more=[facts[path] for path in self.held],
        )
        return Raw(entries={ENTRY.id: entry}, bindings={}, default=None, others=self.surroundings())


@contextmanager
def router_ssh_rig(box: SshBox, scenario: Scenario, folder: Path) -> Iterator[RouterSshRig]:
    """Give a router that holds what the scenario says, and serves it."""
    held = _contents(next(iter(scenario.placed), None))
    box.place(*(Item(path=path, content=held[path], mode=0o400) for path in held))
    box.restart_web()
    box.forget_calls()
    rig = RouterSshRig(box, scenario, folder)
    rig.served()
    try:
        yield rig
    finally:
        rig.rest()
        rig.close()
        box.remove(f"{SSL}/.distribute") if f"{SSL}/.distribute" in box.files(SSL) else None


def _contents(placed: Placed | None) -> dict[str, bytes]:
    if placed is None:
        made = factory()
        return {
            LEAF_FILE: made.cert_pem,
            KEY_FILE: made.key_pem,
            CHAIN_FILE: made.ca_cert_pem or b"",
        }
    bundle = placed.bundle
    # Apache does not start without a chain file: one that is of no use stands for a missing chain.
    chain = bundle.chain_pem if placed.has_chain else STRANGERS[0].bundle.leaf_pem
    return {
        LEAF_FILE: bundle.leaf_pem,
        KEY_FILE: bundle.private_key_pem.reveal().encode(),
        CHAIN_FILE: chain,
    }
