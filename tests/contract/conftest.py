"""The law suites are no test modules themselves; their asserts are to explain themselves too."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.doors",
    "tests.contract.delivering",
    "tests.contract.lab_rig",
    "tests.contract.target_laws",
    "tests.contract.dns_provider_laws",
    "tests.contract.source_laws",
    "tests.contract.watch",
)
