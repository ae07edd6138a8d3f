# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from provisioning.conversation import DeviceEnd, LaptopEnd
from provisioning.errors import SessionError
from provisioning.frames import FROM_LAPTOP, Frame, FrameDecoder, Kind, encode
from provisioning.identity import Identity
from provisioning.session import (
    MAX_HANDSHAKE_BYTES,
    MAX_MESSAGE_BYTES,
    TlsSession,
    device_context,
    laptop_context,
)
from provisioning.types import Peer


@pytest.fixture
def device(tmp_path: Path) -> Identity:
    return Identity.create(tmp_path / "identity", "pole-7")


def pair(identity: Identity, technician: Any = None) -> tuple[TlsSession, TlsSession]:
    device = TlsSession(device_context(identity), server_side=True)
    laptop = TlsSession(laptop_context(technician), server_side=False)
    for _ in range(4):
        device.receive(laptop.outgoing())
        laptop.receive(device.outgoing())
    return device, laptop


def test_messages_cross_both_ways_however_cut(device: Identity) -> None:
    ours, theirs = pair(device)
    for size in (0, 1, 40_000, MAX_MESSAGE_BYTES):
        theirs.send(b"q" * size)
        got = [
            m
            for byte in (theirs.outgoing(),)
            for at in range(0, len(byte), 777)
            for m in ours.receive(byte[at : at + 777])
        ]
        assert got == [b"q" * size]
    ours.send(b"one")
    ours.send(b"two")
    assert theirs.receive(ours.outgoing()) == [b"one", b"two"]


def test_it_is_tls_1_3_and_nothing_older(device: Identity) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    laptop = TlsSession(old, server_side=False)
    with pytest.raises(SessionError, match="handshake"):
        TlsSession(device_context(device), server_side=True).receive(laptop.outgoing())


def test_the_devices_key_shows_before_and_after_enrolment(device: Identity, agency: Any) -> None:
    _, laptop = pair(device)
    shown = laptop.peer_certificate()
    assert shown is not None
    assert (shown.name, shown.fingerprint) == ("pole-7", device.fingerprint)
    enrolled = device.install(agency.bundle(device.csr()), confirmed_ca=agency.fingerprint)
    _, laptop = pair(enrolled)
    certified = laptop.peer_certificate()
    assert certified is not None
    assert certified.fingerprint == device.fingerprint
    assert certified.pem != shown.pem


def test_a_technicians_role_is_proven_by_the_agencys_certificate(
    device: Identity, agency: Any, other_agency: Any, tmp_path: Path
) -> None:
    enrolled = device.install(agency.bundle(device.csr()), confirmed_ca=agency.fingerprint)
    ours, _ = pair(enrolled, agency.person(tmp_path / "people"))
    assert ours.peer() == Peer("pat", "technician")
    ours, _ = pair(enrolled)
    assert ours.peer() == Peer()
    with pytest.raises(SessionError, match="handshake"):
        pair(enrolled, other_agency.person(tmp_path / "others"))


def test_sizes_are_bounded(device: Identity) -> None:
    ours, theirs = pair(device)
    with pytest.raises(SessionError, match=str(MAX_MESSAGE_BYTES)):
        theirs.send(b"x" * (MAX_MESSAGE_BYTES + 1))
    theirs._tls.write(struct.pack(">I", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(SessionError, match="announces"):
        ours.receive(theirs.outgoing())


def test_a_handshake_that_never_ends_is_cut(device: Identity) -> None:
    ours = TlsSession(device_context(device), server_side=True)
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + b"\0" * (0x4000 - 4)  # a ClientHello of 64 KiB
    flood = record * (MAX_HANDSHAKE_BYTES // len(record) + 2)
    with pytest.raises(SessionError):
        ours.receive(flood)


def test_altered_bytes_end_the_session(device: Identity) -> None:
    ours, theirs = pair(device)
    theirs.send(b"hello")
    data = bytearray(theirs.outgoing())
    data[-1] ^= 1
    with pytest.raises(SessionError, match="broke"):
        ours.receive(bytes(data))


# --- the conversation: frames around the session ---------------------------------------------------


def echo(message: bytes, _peer: Peer) -> bytes:
    return b"re: " + message


def ends(device: Identity, session: int = 1) -> tuple[DeviceEnd, LaptopEnd]:
    return DeviceEnd(lambda: device_context(device), echo), LaptopEnd(laptop_context(), session)


def shake(ours: DeviceEnd, theirs: LaptopEnd) -> None:
    line = theirs.start()
    for _ in range(4):
        line = theirs.feed(ours.feed(line))
    assert theirs.ready


def test_a_conversation(device: Identity) -> None:
    ours, theirs = ends(device)
    shake(ours, theirs)
    theirs.feed(ours.feed(theirs.request(b"a" * 50_000)))
    assert theirs.messages == [b"re: " + b"a" * 50_000]
    assert ours.feed(theirs.close()) == b""
    with pytest.raises(SessionError, match="ended"):
        theirs.feed(ours.feed(theirs.request(b"again")))


def test_garbage_between_frames_does_not_disturb(device: Identity) -> None:
    ours, theirs = ends(device)
    shake(ours, theirs)
    line = b"AT+CGMI\r\n" + theirs.request(b"hi") + b"login: "
    theirs.feed(ours.feed(line))
    assert theirs.messages == [b"re: hi"]


def test_a_lost_frame_ends_the_session_and_a_new_one_works(device: Identity) -> None:
    ours, theirs = ends(device)
    shake(ours, theirs)
    theirs.request(b"lost on the way")
    with pytest.raises(SessionError):
        theirs.feed(ours.feed(theirs.request(b"next")))
    assert ours.failures == ["a frame is missing"]
    again = LaptopEnd(laptop_context(), 2)
    shake(ours, again)


def test_frames_of_an_unknown_session_are_answered_with_abort(device: Identity) -> None:
    ours, theirs = ends(device)
    theirs.start()
    line = ours.feed(encode(Frame(Kind.TO_DEVICE, 99, 0, b"x")))
    assert theirs.feed(line) == b""  # not the laptop's session: ignored
    with pytest.raises(SessionError, match="ended"):
        LaptopEnd(laptop_context(), 99).feed(line)


def test_opening_again_forgets_the_half_request(device: Identity) -> None:
    ours, theirs = ends(device)
    shake(ours, theirs)
    ours.feed(theirs.request(b"x" * 30_000)[:20_000])
    ours.idle()
    again = LaptopEnd(laptop_context(), 2)
    shake(ours, again)
    again.feed(ours.feed(again.request(b"fresh")))
    assert again.messages == [b"re: fresh"]


def test_nothing_readable_crosses_the_line(device: Identity) -> None:
    ours, theirs = ends(device)
    shake(ours, theirs)
    line = theirs.request(b"a request that must not be seen")
    assert b"must not be seen" not in line
    frames = FrameDecoder(FROM_LAPTOP).feed(line)
    assert frames
    assert all(f.payload[:1] == b"\x17" for f in frames)  # TLS application data
