"""A secret leaves through `reveal()` alone, and only where that is allowed."""

import ast
import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import distributor
from distributor.model.secret import Secret

MASK = "<secret>"
PACKAGE = Path(distributor.__file__).parent
MAY_REVEAL = (
    "clients",  # on the wire, below TLS or TSIG
    "dns_providers",  # the same
    "sources",  # a key on its way into the store
    "store",  # files that only their owner may read
    "targets",  # a key on its way to its host
)
ALSO = ("model/pkcs12.py",)  # a passphrase, to the library that opens and seals the container

# Long and odd enough to stand in no mask, path or source line by chance.
values = st.text(min_size=8, max_size=40).map(lambda text: f"hunter2-{text}-0123")
specs = st.sampled_from(["", "s", ">40", "<40", "^40", "*^40s", ".3", "d", "x", "%Y", "!"])


@dataclass(frozen=True)
class Login:
    user: str
    password: Secret


@given(values, specs)
def test_no_way_of_writing_a_secret_shows_it(value: str, spec: str) -> None:
    secret = Secret(value)
    shown = [
        repr(secret),
        str(secret),
        ascii(secret),
        format(secret, spec),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s:>40}",
        "%s %r %a" % (secret, secret, secret),  # noqa: UP031 - the old way has to be safe too
        "{} {!r}".format(secret, secret),  # noqa: UP032 - the same
        str([secret]),
        str({"password": secret}),
        repr(Login("certs", secret)),
    ]
    assert all(MASK in text.strip() for text in shown)
    assert not any("hunter2" in text or value in text for text in shown)


@given(values)
def test_a_log_shows_the_mask(value: str) -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")  # noqa: LOG001 - one of its own, bound to nothing
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("password=%s login=%r", Secret(value), Login("certs", Secret(value)))
    assert stream.getvalue() == (f"password={MASK} login=Login(user='certs', password={MASK})\n")


@given(values)
def test_a_traceback_with_all_its_locals_shows_the_mask(value: str) -> None:
    def fail(password: Secret) -> None:
        raise RuntimeError(f"refused {password}")

    with pytest.raises(RuntimeError) as caught:
        fail(Secret(value))
    told = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    # The frame of this test holds the bare value: the part from `fail` on is the secret's.
    inner = told[told.index("in fail") :]
    assert f"password = {MASK}" in inner
    assert "hunter2" not in inner


@pytest.mark.parametrize(
    "take",
    [
        pickle.dumps,
        lambda secret: pickle.dumps(secret, protocol=0),
        copy.copy,
        copy.deepcopy,
        json.dumps,
        hash,
        vars,
        iter,
        len,
        bytes,
        lambda secret: secret + "",
        lambda secret: "" + secret,
        lambda secret: "hunter2" in secret,
        lambda secret: {secret: 1},
        lambda secret: copy.deepcopy(Login("certs", secret)),
    ],
)
def test_what_would_carry_it_elsewhere_is_refused_without_showing_it(
    take: Callable[[Secret], object],
) -> None:
    with pytest.raises(TypeError) as caught:
        take(Secret("hunter2-0123"))
    assert "hunter2" not in str(caught.value)


def test_its_state_is_not_handed_out() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        Secret("hunter2").__reduce_ex__(4)


@given(st.text(), st.text())
def test_two_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) == Secret(one)


def test_a_secret_equals_no_text() -> None:
    assert Secret("hunter2") != "hunter2"


@given(st.text())
def test_the_text_comes_back_as_it_was_given(value: str) -> None:
    assert Secret(value).reveal() == value


def _revealing(source: str) -> list[int]:
    return sorted(
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    )


def test_secrets_are_revealed_only_where_they_leave() -> None:
    elsewhere = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in MAY_REVEAL
        and path.relative_to(PACKAGE).as_posix() not in {"model/secret.py", *ALSO}
        for line in _revealing(path.read_text(encoding="utf-8"))
    ]
    assert elsewhere == []


def test_the_search_for_revealed_secrets_finds_them() -> None:
    assert _revealing("a = 1\nb = secret.reveal()\nc = map(Secret.reveal, d)") == [2, 3]
