"""Consequences of a plan that a person should know of before it is applied."""

from collections.abc import Iterable, Iterator
from typing import Final

from distributor.model.choice import left_alone
from distributor.model.state import CERTIFICATE, CHAIN, DEFAULT, LEAF, Address, State
from distributor.model.superseded import users
from distributor.model.text import printable

_WEB_SERVER: Final = ("system/", "ReverseProxy/", "AppPortal/")
"""Beginnings of the ids of services whose certificate the web server itself shows."""


def notes_on(
    observed: State, desired: State, changed: Iterable[tuple[Address, str]]
) -> tuple[str, ...]:
    """Return what restarts, and what stays as it is though it was asked for.

    `changed` has address and fact of each change. That DSM restarts its web server when something
    that this shows gets another certificate was seen; that other services come back with theirs is
    what their handshakes show afterwards (dsm-web-api facts 3.2, 3.5).
    """
    return (*_restarts(observed, tuple(changed)), *_kept(observed, desired))


def _restarts(observed: State, changed: tuple[tuple[Address, str], ...]) -> Iterator[str]:
    touched: dict[Address, None] = {}
    for address, fact in changed:
        if fact == CERTIFICATE:
            touched[address] = None
        elif fact in {LEAF, CHAIN}:
            touched |= dict.fromkeys(users(observed, address))
    is_web = [one for one in touched if one == DEFAULT or one.id.startswith(_WEB_SERVER)]
    names = ["the web server"] * bool(is_web)
    names += [printable(one.name or one.id) for one in touched if one not in is_web]
    if names:
        yield f"will restart: {', '.join(names)}"


def _kept(observed: State, desired: State) -> Iterator[str]:
    for service in left_alone(observed, desired):
        yield f"{service} keeps its certificate: the device does not let it be moved"
