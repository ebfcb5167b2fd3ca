"""What is made of bytes may be a key: it shows in no `repr`, unless it is known to be public."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import ModuleType

import distributor

PUBLIC = {
    "distributor.lab.material.Material": {"cert_pem", "chain_pem", "ca_cert_pem"},
    "distributor.model.pkcs12.Contents": {"certificate", "chain"},
    "distributor.protocol.archive.ExportedPair": {"certificate", "chain"},
    "distributor.protocol.dsm_survey.Survey": {"info", "default", "public_keys"},
    "distributor.sources.files._Pair": {"certificate", "chain"},
    "distributor.store.orders.PendingOrder": {"csr_pem"},
    "distributor.store.refusals._Noted": {"salt"},
}


def modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(distributor.__path__, "distributor."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def test_bytes_show_only_where_they_are_public() -> None:
    shown: dict[str, set[str]] = {}
    for module in modules():
        for name, kind in vars(module).items():
            if inspect.isclass(kind) and is_dataclass(kind) and kind.__module__ == module.__name__:
                for one in fields(kind):
                    if "bytes" in str(one.type) and one.repr:
                        shown.setdefault(f"{module.__name__}.{name}", set()).add(one.name)
    assert shown == PUBLIC
