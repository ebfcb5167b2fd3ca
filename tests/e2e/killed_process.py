"""The command, ended by a signal at one named moment of its work; it knows nothing of that.

    python -P killed_process.py STATE TRACE SIGNAL MOMENT HOSTS ARGUMENT...

A moment is an event and its ordinal, such as `got newOrder 1`. Below the folder STATE: `write
FILE`, `rename FILE`, `remove FILE`, `mkdir FOLDER` (about to be done). At the CA: `send RESOURCE`
(about to be sent), then `got RESOURCE`, or `refused RESOURCE` for an error (the answer is here and
not used yet). At nameservers: `send` and `got`, with `TXT-add`, `TXT-delete` or `query TYPE`. At a
host by its Web API: `send HOST API.METHOD`, then `sent` (all of it is on its way, and no answer is
read), then `got`. At a host by SSH: `send HOST command`, then `half` where the command reads
something (one half of that was sent), then `sent`, then `got`. The last is `exit`. Between two
events nothing changes outside the process, so being ended at one of them is the same as being ended
anywhere since the one before.

Every moment is written to TRACE, with the status and Location of an answer. With "" for MOMENT
nothing else happens. HOSTS has the names of hosts by port: `5001/https=attic 22/ssh=cellar`.
"""

import http.client
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dns.message
import dns.query
import dns.rdatatype
import dns.update
import paramiko
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
RANDOM = re.compile(r"\d{8}T\d{6}(\.\d{6})?Z(-[0-9a-f]{12})?|[0-9a-f]{12,}")
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


def watch_requests(moments: Moments, hosts: Mapping[int, str]) -> None:
    """Tell of every HTTP request and its answer."""
    send = requests.Session.send
    read_answer = http.client.HTTPConnection.getresponse
    under_way = threading.local()

    def watched(
        session: requests.Session, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        resource, under_way.at_host = _resource(request, hosts)
        moments.meet(f"send {resource}")
        under_way.resource = resource
        answer = send(session, request, **options)
        event = f"got {resource}" if answer.ok else f"refused {resource}"
        moments.meet(event, str(answer.status_code), answer.headers.get("Location", ""))
        return answer

    def about_to_read(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        if getattr(under_way, "at_host", False):
            moments.meet(f"sent {under_way.resource}")
        return read_answer(connection)

    requests.Session.send = watched  # type: ignore[assignment,method-assign]  # from outside
    http.client.HTTPConnection.getresponse = about_to_read  # type: ignore[method-assign,assignment]


def _resource(request: requests.PreparedRequest, hosts: Mapping[int, str]) -> tuple[str, bool]:
    """Return what is asked for, and whether a host is asked."""
    parts = urlsplit(request.url or "")
    first = parts.path.split("/")[1]
    if first != "webapi":
        return RESOURCES.get(first, first), False
    form = request.body.decode() if isinstance(request.body, bytes) else request.body
    asked = parse_qs(parts.query) or parse_qs(form if isinstance(form, str) else "")
    api = asked["api"][0].rpartition(".")[2]
    return f"{hosts[parts.port or 443]} {api}.{asked['method'][0]}", True


def watch_commands(moments: Moments, hosts: Mapping[int, str]) -> None:
    """Tell of every command over SSH: before it, while it reads, and when it has ended."""
    from distributor.clients.ssh import SshSession
    from distributor.clients.ssh_exchange import Exchange

    run, send, end = SshSession.run, Exchange._send, paramiko.Channel.shutdown_write
    under_way = threading.local()

    def watched(session: SshSession, command: Sequence[str], **options: Any) -> Any:
        under_way.name = f"{hosts[session._address.port]} command"
        moments.meet(f"send {under_way.name}", *_shown(command))
        result = run(session, command, **options)
        moments.meet(f"got {under_way.name}", str(result.status), "")
        return result

    def halved(exchange: Exchange, channel: Any, data: bytes) -> None:
        if not exchange._dialogue.has_begun:  # the password
            return send(exchange, channel, data)
        middle = len(data) // 2
        send(exchange, channel, data[:middle])
        if data:
            moments.meet(f"half {under_way.name}")
        return send(exchange, channel, data[middle:])

    def ended(channel: paramiko.Channel) -> None:
        end(channel)
        moments.meet(f"sent {under_way.name}")

    SshSession.run = watched  # type: ignore[method-assign,assignment]  # from outside
    Exchange._send = halved  # type: ignore[method-assign,assignment]  # from outside
    paramiko.Channel.shutdown_write = ended  # type: ignore[method-assign,assignment]  # from outside


def _shown(command: Sequence[str]) -> tuple[str, str]:
    """Return the command as one line, for a reader of the trace."""
    return "", " ".join(" ".join(command).split())[-160:]


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


def main(state: str, trace: str, number: str, goal: str, hosts: str, *arguments: str) -> None:
    moments = Moments(trace, goal, int(number))
    named = [re.fullmatch(r"(\d+)/(ssh|https)=(.+)", one) for one in hosts.split()]
    by_port = {int(one[1]): one[3] for one in named if one}
    watch_files(moments, state)
    watch_requests(moments, by_port)
    watch_nameservers(moments)
    if any(one[2] == "ssh" for one in named if one):
        watch_commands(moments, by_port)
    from distributor.cli.main import main as command

    try:
        command(list(arguments))
    finally:
        moments.meet("exit")


if __name__ == "__main__":
    main(*sys.argv[1:])
