# SPDX-License-Identifier: Apache-2.0
"""TLS 1.3 over any bytes, through `ssl.MemoryBIO`, and bounded messages inside it. Sans-IO.

The device is the TLS server. It always shows its own key: self-signed before enrolment, certified by the agency
afterwards, so its fingerprint never changes; the laptop compares that fingerprint with the one it remembers.
Once enrolled the device asks for a certificate of its agency and tells the commands which role it carried.
"""

from __future__ import annotations

import ssl
import struct
from dataclasses import dataclass

from provisioning.errors import SessionError
from provisioning.identity import Identity
from provisioning.types import Peer, TlsFiles
from sync.certificates import certificate_key, fingerprint, load_certificate, subject_of

MAX_MESSAGE_BYTES = 256 * 1024  # bytes of one request or answer
MAX_HANDSHAKE_BYTES = 64 * 1024  # bytes taken in before the handshake is complete
_READ_BYTES = 16 * 1024
_LENGTH = struct.Struct(">I")


def device_context(identity: Identity) -> ssl.SSLContext:
    """The device's side: its own key; after enrolment a certificate of the agency is welcome, never required."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    files = identity.tls_files() if identity.enrolled else identity.self_files()
    context.load_cert_chain(files.certificate, files.key)
    if identity.bundle is not None:
        context.load_verify_locations(cadata=identity.bundle.ca_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def laptop_context(technician: TlsFiles | None = None) -> ssl.SSLContext:
    """The laptop's side. The device is authenticated by its key's fingerprint, not by a public name."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the caller compares the fingerprint before it sends anything
    if technician is not None:
        context.load_cert_chain(technician.certificate, technician.key)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What the other end showed and proved to hold."""

    name: str
    role: str
    fingerprint: str
    pem: str


class TlsSession:
    """One TLS conversation with length-prefixed messages. Any error ends it; start another."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._plain = bytearray()
        self._taken = 0
        self.ready = False
        if not server_side:
            self._handshake()

    def receive(self, data: bytes) -> list[bytes]:
        """Takes bytes of the peer; returns the whole messages in them. Raises SessionError."""
        self._incoming.write(data)
        self._taken += len(data)
        if not self.ready:
            self._handshake()
        return self._messages() if self.ready else []

    def send(self, message: bytes) -> None:
        """Encrypts one message; raises SessionError when it is too large or the handshake is not done."""
        if not self.ready or len(message) > MAX_MESSAGE_BYTES:
            raise SessionError(
                f"cannot send: no session yet, or the message is over {MAX_MESSAGE_BYTES} bytes"
            )
        self._tls.write(_LENGTH.pack(len(message)) + message)

    def outgoing(self) -> bytes:
        """The bytes to carry to the peer now."""
        return self._outgoing.read()

    def peer_certificate(self) -> PeerCertificate | None:
        """The peer's certificate, None when it showed none. Raises SessionError when it is not P-256."""
        der = self._tls.getpeercert(binary_form=True) if self.ready else None
        if der is None:
            return None
        pem = ssl.DER_cert_to_PEM_cert(der)
        try:
            certificate = load_certificate(pem)
            name, role = subject_of(certificate.subject)
            pin = fingerprint(certificate_key(certificate))
        except ValueError as error:
            raise SessionError("the peer's certificate is malformed or not P-256") from error
        return PeerCertificate(name, role, pin, pem)

    def peer(self) -> Peer:
        """Who the peer proved to be."""
        shown = self.peer_certificate()
        return Peer(shown.name, shown.role) if shown else Peer()

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._taken > MAX_HANDSHAKE_BYTES:
                raise SessionError(f"handshake is over {MAX_HANDSHAKE_BYTES} bytes") from None
        except ssl.SSLError as error:
            raise SessionError(f"the TLS handshake failed ({error.reason or 'closed'})") from error
        else:
            self.ready = True

    def _messages(self) -> list[bytes]:
        messages: list[bytes] = []
        while chunk := self._read():
            self._plain += chunk
            while (message := self._cut()) is not None:
                messages.append(message)
        return messages

    def _read(self) -> bytes:
        try:
            return self._tls.read(_READ_BYTES)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise SessionError(f"the TLS session broke ({error.reason or 'closed'})") from error

    def _cut(self) -> bytes | None:
        if len(self._plain) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._plain)
        if length > MAX_MESSAGE_BYTES:
            raise SessionError(f"the peer announces a message over {MAX_MESSAGE_BYTES} bytes")
        if len(self._plain) < _LENGTH.size + length:
            return None
        message = bytes(self._plain[_LENGTH.size : _LENGTH.size + length])
        del self._plain[: _LENGTH.size + length]
        return message
