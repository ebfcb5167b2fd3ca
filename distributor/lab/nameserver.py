"""The lab's nameserver: authoritative, in memory, on loopback, taking TSIG-signed updates.

One thread serves UDP and TCP at the same port. It behaves as BIND with an `update-policy` does, and
the tests put the same requests to both. It sets RA and follows aliases between its own zones,
because the CAs of the lab expect a resolver; what it does not serve it refuses.
"""

import base64
import binascii
import errno
import logging
import selectors
import socket
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig
import dns.update

from distributor.lab.zones import Zones

_LOG = logging.getLogger(__name__)

_PAYLOAD = 1232
_SMALLEST_PAYLOAD = 512
_LARGEST_MESSAGE = 65535
_HEADER = 12
_FUDGE = 300
_MAX_CONNECTIONS = 64
_SEND_TIMEOUT = 2.0
_BIND_TRIES = 20


class Nameserver:
    """A context manager that serves `zones` at `address`; `key_secret` is base64.

    `lag` (seconds, may be set at any time) keeps later updates invisible to queries for that
    long. ValueError if the secret is not base64 or the algorithm unknown, OSError if the port
    cannot be had.
    """

    def __init__(
        self,
        zones: Sequence[str],
        *,
        key_name: str,
        key_secret: str,
        key_algorithm: str = "hmac-sha256",
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        try:
            secret = base64.b64decode(key_secret, validate=True)
        except binascii.Error:
            raise ValueError(f"the secret of the TSIG key {key_name} is not base64") from None
        self._key = dns.tsig.Key(key_name, secret, key_algorithm)
        if self._key.algorithm not in dns.tsig.mac_sizes:
            raise ValueError(f"{key_algorithm} is no TSIG algorithm; use hmac-sha256")
        self._zones = Zones(zones)
        self._wanted = (address, port)
        self._connections: dict[socket.socket, bytearray] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the same for UDP and TCP; known once started."""
        host, port = self._udp.getsockname()
        return host, port

    @property
    def lag(self) -> float:
        """Seconds for which an update that is accepted now stays invisible to queries."""
        return self._zones.lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        self._zones.lag = seconds

    @property
    def updates(self) -> int:
        """How many update messages were accepted."""
        return self._zones.updates

    def put(self, name: str, rdtype: str, *values: str, ttl: int = 60) -> None:
        """Replace a record set; values in zone file form; see `Zones.put`."""
        self._zones.put(name, rdtype, *values, ttl=ttl)

    def records(self, name: str, rdtype: str) -> set[str]:
        """Return the values as last written, lag or not; TXT without quotes."""
        return self._zones.records(name, rdtype)

    def serial(self, zone: str) -> int:
        """Return the newest SOA serial of `zone`."""
        return self._zones.serial(zone)

    def start(self) -> None:
        """Bind and serve; returns when queries are answered."""
        self._udp, self._tcp = _bind(*self._wanted)
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        for each in (self._udp, self._tcp, self._wake):
            self._selector.register(each, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="lab-nameserver", daemon=True)
        self._thread.start()
        _LOG.info("event=nameserver-started address=%s port=%d", *self.address)

    def stop(self) -> None:
        """End the thread and close every socket; quiet if it is not running."""
        if self._thread is None:
            return
        self._waker.send(b"x")
        self._thread.join()
        self._thread = None
        for each in (self._udp, self._tcp, self._wake, self._waker, *self._connections):
            each.close()
        self._connections.clear()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    return
                if key.fileobj is self._udp:
                    self._serve_datagram()
                elif key.fileobj is self._tcp:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._serve_connection(key.fileobj)

    def _serve_datagram(self) -> None:
        try:
            wire, peer = self._udp.recvfrom(_LARGEST_MESSAGE)
            answer = self._respond(wire, datagram=True)
            if answer is not None:
                self._udp.sendto(answer, peer)
        except OSError as error:
            _LOG.debug("event=datagram-lost reason=%s", error)

    def _accept(self) -> None:
        try:
            connection, _ = self._tcp.accept()
        except OSError as error:
            _LOG.debug("event=connection-lost reason=%s", error)
            return
        if len(self._connections) >= _MAX_CONNECTIONS:
            connection.close()
            return
        connection.settimeout(_SEND_TIMEOUT)
        self._connections[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _serve_connection(self, connection: socket.socket) -> None:
        """Read what is there and answer every whole message (two octets of length before each)."""
        held = self._connections[connection]
        try:
            received = connection.recv(_LARGEST_MESSAGE)
            held += received
            while len(held) > 1 and len(held) >= (end := 2 + struct.unpack_from("!H", held)[0]):
                answer = self._respond(bytes(held[2:end]), datagram=False)
                del held[:end]
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)
        except OSError as error:
            _LOG.debug("event=connection-lost reason=%s", error)
            received = b""
        if not received:
            self._selector.unregister(connection)
            del self._connections[connection]
            connection.close()

    def _respond(self, wire: bytes, *, datagram: bool) -> bytes | None:
        """Answer one message; None where no answer may be sent (to a response, to a fragment)."""
        try:
            request = dns.message.from_wire(wire, keyring=False)
        except dns.exception.DNSException as error:
            _LOG.debug("event=malformed reason=%s", error)
            return _format_error(wire)
        if request.flags & dns.flags.QR:
            return None
        try:
            if request.had_tsig:
                request = dns.message.from_wire(wire, keyring={self._key.name: self._key})
            response = self._answer(request)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadAlgorithm):
            response = _signature_error(request, dns.rcode.BADKEY)
        except dns.tsig.BadSignature:
            response = _signature_error(request, dns.rcode.BADSIG)
        except dns.tsig.BadTime:
            response = self._time_error(request)
        except dns.tsig.PeerError:
            return _format_error(wire)
        limit = _LARGEST_MESSAGE
        if datagram:
            limit = max(_SMALLEST_PAYLOAD, min(request.payload, _PAYLOAD))
        return response.to_wire(max_size=limit, prefer_truncation=True)

    def _time_error(self, request: dns.message.Message) -> dns.message.Message:
        """Tell a peer whose clock is off what time it is here, signed (RFC 8945 §5.2.3)."""
        response = dns.message.make_response(request)
        response.set_rcode(dns.rcode.NOTAUTH)
        now = int(time.time()).to_bytes(6, "big")
        response.use_tsig(self._key, fudge=_FUDGE, tsig_error=dns.rcode.BADTIME, other_data=now)
        response.request_mac = request.mac or b""
        return response

    def _answer(self, request: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(
            request, recursion_available=True, our_payload=_PAYLOAD, fudge=_FUDGE
        )
        if request.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)
        elif isinstance(request, dns.update.UpdateMessage):
            rcode = self._zones.update(request) if request.had_tsig else dns.rcode.REFUSED
            response.flags &= ~dns.flags.RA
            response.set_rcode(rcode)
            names = ",".join(sorted({str(rrset.name) for rrset in request.update}))
            _LOG.info("event=update names=%s rcode=%s", names, dns.rcode.to_text(rcode))
        elif request.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(request.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        elif request.question[0].rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
            response.set_rcode(dns.rcode.REFUSED)
        else:
            self._zones.answer(request.question[0], response)
        return response


def _signature_error(request: dns.message.Message, error: dns.rcode.Rcode) -> dns.message.Message:
    """NOTAUTH with the TSIG error in a record without MAC, as the peer cannot check one."""
    response = dns.message.make_response(request)
    response.set_rcode(dns.rcode.NOTAUTH)
    response.tsig = dns.rrset.from_rdata(
        request.keyname or dns.name.root,
        0,
        dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]  # dnspython has no types here
            dns.rdataclass.ANY,
            dns.rdatatype.TSIG,
            request.keyalgorithm,
            int(time.time()),
            _FUDGE,
            b"",
            request.id,
            error,
            b"",
        ),
    )
    return response


def _format_error(wire: bytes) -> bytes | None:
    """FORMERR for a message that cannot be read, if at least its header can."""
    if len(wire) < _HEADER:
        return None
    message_id, flags = struct.unpack_from("!HH", wire)
    if flags & dns.flags.QR:
        return None
    response = dns.message.Message(id=message_id)
    response.flags = dns.flags.QR | dns.flags.Flag(flags & dns.flags.RD)
    response.set_opcode(dns.opcode.from_flags(flags))
    response.set_rcode(dns.rcode.FORMERR)
    return response.to_wire()


def _bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Open a UDP and a listening TCP socket at one port; port 0: any that is free for both."""
    for _ in range(_BIND_TRIES):
        tcp = socket.create_server((address, port))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError as error:
            udp.close()
            tcp.close()
            if port or error.errno != errno.EADDRINUSE:
                raise
        else:
            # What made them readable may be gone when we look; that must not block the others.
            udp.setblocking(False)
            tcp.setblocking(False)
            return udp, tcp
    raise OSError(errno.EADDRINUSE, f"no port of {address} is free for both UDP and TCP")
