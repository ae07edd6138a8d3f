# SPDX-License-Identifier: Apache-2.0
"""One conversation on the line: frames that carry a TLS session, each end as a sans-IO machine.

The laptop draws a session number and opens; the device then forgets whatever it was doing. A missing frame ends
the session at once (`ABORT`): TLS could not go on, and a fresh session costs two round trips.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from provisioning.errors import ProvisioningError, SessionError
from provisioning.frames import FROM_DEVICE, FROM_LAPTOP, MAX_PAYLOAD_BYTES, Frame, FrameDecoder, Kind, encode
from provisioning.session import PeerCertificate, TlsSession
from provisioning.types import Peer

Handler = Callable[[bytes, Peer], bytes]


class _Sender:
    """Cuts a byte stream into numbered frames of one session."""

    def __init__(self, kind: Kind, session: int) -> None:
        self._kind, self._session, self._sequence = kind, session, 0

    def frames(self, data: bytes) -> bytes:
        """The bytes for the line."""
        out = bytearray()
        for at in range(0, len(data), MAX_PAYLOAD_BYTES):
            out += self.one(self._kind, data[at : at + MAX_PAYLOAD_BYTES])
        return bytes(out)

    def one(self, kind: Kind, payload: bytes = b"") -> bytes:
        """One frame, numbered."""
        frame = Frame(kind, self._session, self._sequence, payload)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return encode(frame)


@dataclass(slots=True)
class _Open:
    session: int
    tls: TlsSession
    sender: _Sender
    expected: int = 1  # sequence number of the laptop's next frame; OPEN was 0

    def count(self, frame: Frame) -> None:
        """Takes note of the laptop's next frame; raises SessionError when one before it is missing."""
        if frame.sequence != self.expected:
            raise SessionError("a frame is missing")
        self.expected = (self.expected + 1) & 0xFFFFFFFF


class DeviceEnd:
    """The device's end: bytes in, bytes out; whole requests go to the handler."""

    def __init__(self, context: Callable[[], ssl.SSLContext], handler: Handler) -> None:
        self._context, self._handler = context, handler
        self._decoder = FrameDecoder(FROM_LAPTOP)
        self._open: _Open | None = None
        self.failures: list[str] = []  # why sessions ended early, for the log; the caller clears it

    def feed(self, data: bytes) -> bytes:
        """Takes bytes of the line, returns those to write."""
        return b"".join(self._frame(frame) for frame in self._decoder.feed(data))

    def idle(self) -> bytes:
        """Tells of a silence on the line; returns bytes to write."""
        return b"".join(self._frame(frame) for frame in self._decoder.idle())

    def reset(self) -> None:
        """The line was lost: forgets everything."""
        self._decoder.reset()
        self._open = None

    def _frame(self, frame: Frame) -> bytes:
        if frame.kind is Kind.OPEN:
            return self._start(frame)
        current = self._open
        if current is None or frame.session != current.session:
            return encode(Frame(Kind.ABORT, frame.session, 0))
        if frame.kind is Kind.CLOSE:
            self._open = None
            return b""
        return self._data(current, frame)

    def _start(self, frame: Frame) -> bytes:
        self._open = None
        try:
            tls = TlsSession(self._context(), server_side=True)
        except (ProvisioningError, OSError) as error:  # ssl.SSLError is an OSError
            self.failures.append(f"the device's key or certificate cannot be used ({type(error).__name__})")
            return encode(Frame(Kind.ABORT, frame.session, 0))
        self._open = _Open(frame.session, tls, _Sender(Kind.TO_LAPTOP, frame.session))
        return b""

    def _data(self, current: _Open, frame: Frame) -> bytes:
        try:
            current.count(frame)
            for message in current.tls.receive(frame.payload):
                current.tls.send(self._handler(message, current.tls.peer()))
        except SessionError as error:
            self.failures.append(str(error))
            self._open = None
            last = current.sender.frames(current.tls.outgoing())  # may hold a TLS alert that says why
            return last + current.sender.one(Kind.ABORT)
        return current.sender.frames(current.tls.outgoing())


class LaptopEnd:
    """The laptop's end of one session: `start`, then `feed`; `peer` is known once `ready`."""

    def __init__(self, context: ssl.SSLContext, session: int) -> None:
        self._decoder = FrameDecoder(FROM_DEVICE)
        self._session = session
        self._sender = _Sender(Kind.TO_DEVICE, session)
        self._tls = TlsSession(context, server_side=False)
        self._expected = 0
        self.messages: list[bytes] = []

    @property
    def ready(self) -> bool:
        """Whether the handshake is complete."""
        return self._tls.ready

    def start(self) -> bytes:
        """The first bytes for the line."""
        return self._sender.one(Kind.OPEN) + self._sender.frames(self._tls.outgoing())

    def request(self, message: bytes) -> bytes:
        """The bytes that carry one message."""
        self._tls.send(message)
        return self._sender.frames(self._tls.outgoing())

    def close(self) -> bytes:
        """The last bytes for the line."""
        return self._sender.one(Kind.CLOSE)

    def feed(self, data: bytes) -> bytes:
        """Takes bytes of the line, returns those to write; answers gather in `messages`. Raises SessionError."""
        for frame in self._decoder.feed(data):
            self._frame(frame)
        return self._sender.frames(self._tls.outgoing())

    def idle(self) -> None:
        """Tells of a silence on the line."""
        for frame in self._decoder.idle():
            self._frame(frame)

    def peer(self) -> PeerCertificate:
        """The device's certificate; raises SessionError before the handshake is complete."""
        shown = self._tls.peer_certificate()
        if shown is None:
            raise SessionError("the device has not shown a certificate yet")
        return shown

    def _frame(self, frame: Frame) -> None:
        if frame.session != self._session:
            return  # an answer to an earlier session
        if frame.kind is Kind.ABORT:
            raise SessionError("the device ended the session; try again")
        if frame.sequence != self._expected:
            raise SessionError("bytes were lost on the line; try again")
        self._expected = (self._expected + 1) & 0xFFFFFFFF
        self.messages += self._tls.receive(frame.payload)
