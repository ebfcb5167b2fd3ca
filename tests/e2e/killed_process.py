"""The command, ended by a signal at one named moment of its work; it knows nothing of that.

    python -P killed_process.py STATE TRACE SIGNAL MOMENT ARGUMENT...

A moment is an event and its ordinal, such as `got newOrder 1`. Below the folder STATE: `write
FILE`, `rename FILE`, `remove FILE`, `mkdir FOLDER` (about to be done). At the CA: `send RESOURCE`
(about to be sent), then `got RESOURCE`, or `refused RESOURCE` for an error (the answer is here and
not used yet). At nameservers: `send` and `got`, with `TXT-add`, `TXT-delete` or `query TYPE`. The
last is `exit`. Between two events nothing changes outside the process, so being ended at one of
them is the same as being ended anywhere since the one before.

Every moment is written to TRACE, with the status and Location of an answer. With "" for MOMENT
nothing else happens.
"""

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dns.message
import dns.query
import dns.rdatatype
import dns.update
import requests

RESOURCES = {
    "dir": "directory",
    "nonce-plz": "newNonce",
    "sign-me-up": "newAccount",
    "my-account": "account",
    "list-orderz": "orders",
    "order-plz": "newOrder",
    "my-order": "order",
    "authZ": "authorization",
    "chalZ": "challenge",
    "finalize-order": "finalize",
    "certZ": "certificate",
}
"""Pebble's paths, in RFC 8555's words."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILE_EVENTS = {
    "os.rename": ("rename", 1, 3),
    "os.link": ("link", 1, 3),
    "os.symlink": ("link", 1, 2),
    "os.remove": ("remove", 0, 1),
    "os.mkdir": ("mkdir", 0, 2),
    "os.rmdir": ("rmdir", 0, 1),
}
"""By Python's audit event: our word, and which arguments are the path and its folder's number."""
RANDOM = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}|[0-9a-f]{12,}")
"""What is different from run to run in a file's name: times, fingerprints, random marks."""


class Moments:
    """Counts events, and ends the process at the chosen one."""

    def __init__(self, trace: str, goal: str, number: int) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._goal = goal
        self._number = number
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def meet(self, event: str, *told: str) -> None:
        with self._lock:
            self._seen[event] += 1
            moment = f"{event} {self._seen[event]}"
            os.write(self._trace, ("\t".join((moment, *told)) + "\n").encode())
        if moment == self._goal:
            os.kill(os.getpid(), self._number)


def watch_files(moments: Moments, state: str) -> None:
    """Tell of every change below `state`, by whatever function of Python it is made."""

    def told(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, _, flags = arguments
            if not isinstance(name, int) and flags & WRITING:
                tell("write", name)
        elif event in FILE_EVENTS:
            word, path, folder = FILE_EVENTS[event]
            tell(word, arguments[path], arguments[folder])

    def tell(word: str, name: Any, folder: int = -1) -> None:
        base = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()
        path = base / os.fsdecode(name)
        if path.is_relative_to(state):
            moments.meet(f"{word} {RANDOM.sub('*', str(path.relative_to(state)))}")

    sys.addaudithook(told)


def watch_requests(moments: Moments) -> None:
    """Tell of every HTTP request and its answer."""
    send = requests.Session.send

    def watched(
        session: requests.Session, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        first = urlsplit(request.url or "").path.split("/")[1]
        resource = RESOURCES.get(first, first)
        moments.meet(f"send {resource}")
        answer = send(session, request, **options)
        event = f"got {resource}" if answer.ok else f"refused {resource}"
        moments.meet(event, str(answer.status_code), answer.headers.get("Location", ""))
        return answer

    requests.Session.send = watched  # type: ignore[assignment,method-assign]  # from outside


def watch_nameservers(moments: Moments) -> None:
    """Tell of every message to a nameserver and its answer."""

    def watched(send: Callable[..., Any]) -> Callable[..., Any]:
        def sent(message: dns.message.Message, *arguments: Any, **options: Any) -> Any:
            matter = _matter(message)
            moments.meet(f"send {matter}")
            answer = send(message, *arguments, **options)
            moments.meet(f"got {matter}")
            return answer

        return sent

    for over in ("tcp", "udp"):
        setattr(dns.query, over, watched(getattr(dns.query, over)))


def _matter(message: dns.message.Message) -> str:
    if isinstance(message, dns.update.UpdateMessage):
        return (
            "TXT-delete" if any(one.deleting is not None for one in message.update) else "TXT-add"
        )
    return f"query {dns.rdatatype.to_text(message.question[0].rdtype)}"


def main(state: str, trace: str, number: str, goal: str, *arguments: str) -> None:
    moments = Moments(trace, goal, int(number))
    watch_files(moments, state)
    watch_requests(moments)
    watch_nameservers(moments)
    from distributor.cli.main import main as command

    try:
        command(list(arguments))
    finally:
        moments.meet("exit")


if __name__ == "__main__":
    main(*sys.argv[1:])
