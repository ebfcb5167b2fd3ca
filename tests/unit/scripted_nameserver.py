"""Nameservers that answer as a test says, a clock that only sleeping moves, a client of both."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from distributor.clients.nameservers import Nameservers
from distributor.lab.nameserver import Nameserver
from distributor.model.hosts import SocketAddress

NAME = "_acme-challenge.example.test"
SOON = timedelta(seconds=5)

Script = Callable[[dns.message.Message], bytes | None]
"""What goes back for a question; None for nothing."""


class Scripted:
    """A nameserver over UDP, and over TCP too if it has a script for that; it remembers questions.

    Without a script it takes what comes and never answers.
    """

    def __init__(self, answer: Script = lambda _: None, by_tcp: Script | None = None) -> None:
        self.asked: list[dns.message.Message] = []
        self._answer, self._by_tcp = answer, by_tcp
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(self._tcp.getsockname())
        self.address = SocketAddress("127.0.0.1", self._udp.getsockname()[1])
        self._threads = [threading.Thread(target=self._serve_udp)]
        if by_tcp is None:
            self._tcp.close()
        else:
            self._threads.append(threading.Thread(target=self._serve_tcp))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address.host, self.address.port))
        if self._by_tcp is not None:
            socket.create_connection((self.address.host, self.address.port)).close()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    @property
    def names(self) -> set[str]:
        """The names that were asked for, in lower case."""
        return {query.question[0].name.to_text(omit_final_dot=True).lower() for query in self.asked}

    def _serve_udp(self) -> None:
        while True:
            wire, peer = self._udp.recvfrom(65_535)
            if not wire:
                return
            answer = self._answer(self._heard(wire))
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection, connection.makefile("rb") as stream:
                size = stream.read(2)
                if not size:
                    return
                wire = stream.read(int.from_bytes(size))
                answer = self._by_tcp(self._heard(wire)) if self._by_tcp is not None else None
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(2) + answer)

    def _heard(self, wire: bytes) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        return query


def txt(*values: str, authoritative: bool = True) -> Script:
    """Answer every question with these TXT values, whatever the question's type."""

    def answer(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        if authoritative:
            response.flags |= dns.flags.AA
        texts = [f'"{value}"' for value in values]
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *texts))
        return response.to_wire()

    return answer


def nothing(
    seconds: int = 10, *, authoritative: bool = False, zone: str = "example.test"
) -> Script:
    """Answer that the name does not exist; whoever keeps that may for so many seconds."""

    def answer(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        if authoritative:
            response.flags |= dns.flags.AA
        start = f"ns1.{zone}. hostmaster.{zone}. 1 3600 600 86400 {seconds}"
        response.authority.append(dns.rrset.from_text(f"{zone}.", seconds, "IN", "SOA", start))
        return response.to_wire()

    return answer


def saying(rcode: dns.rcode.Rcode) -> Script:
    """Answer with an rcode alone."""

    def answer(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return response.to_wire()

    return answer


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


Where = Nameserver | Scripted | SocketAddress


def at(server: Where) -> SocketAddress:
    """Return where a server listens."""
    if isinstance(server, Nameserver):
        return SocketAddress(*server.address)
    return server.address if isinstance(server, Scripted) else server


def client(
    *nameservers: Where,
    resolvers: Sequence[Where] = (),
    doh: Sequence[str] = (),
    clock: Clock | None = None,
) -> Nameservers:
    """Return a client of these nameservers, or, without one, of those that resolvers find.

    Without resolvers the nameservers are taken as such: nobody outside is asked. In real time
    without a clock.
    """
    return Nameservers(
        resolvers=[at(one) for one in resolvers or nameservers],
        nameservers=[at(one) for one in nameservers],
        doh=doh,
        sleep=clock.sleep if clock is not None else time.sleep,
        now=clock.now if clock is not None else lambda: datetime.now(UTC),
    )


def silence(_line: str) -> None:
    """Take a line of progress."""
