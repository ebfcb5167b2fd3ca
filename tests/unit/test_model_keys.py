"""New keys are of the type that was asked for, and each its own."""

from typing import get_args

import pytest

from distributor.model.hosts import KeyType
from distributor.model.keys import new_private_key
from distributor.model.pem import private_key_from, private_key_pem
from distributor.model.secret import Secret
from tests.certs import hierarchy

QUICK: tuple[KeyType, ...] = ("rsa2048", "ec256", "ec384")


@pytest.mark.parametrize("key_type", QUICK)
def test_a_new_key_is_pkcs8_of_the_type_that_was_asked_for(key_type: KeyType) -> None:
    made = new_private_key(key_type)
    key = private_key_from(made.reveal().encode("ascii"), "the key")
    assert private_key_pem(key) == made
    assert f"{'rsa' if key_type.startswith('rsa') else 'ec'}{key.key_size}" == key_type
    assert hierarchy(0).issue(("example.com",), key=key).key is key


def test_every_type_of_the_inventory_can_be_made() -> None:
    assert set(get_args(KeyType)) == {*QUICK, "rsa3072", "rsa4096"}


def test_two_new_keys_are_two() -> None:
    assert new_private_key("ec256") != new_private_key("ec256")
    assert isinstance(new_private_key("ec256"), Secret)
