# SPDX-License-Identifier: Apache-2.0
"""Targets in provisioning: the serial line, both ends of a session, commands, and what the laptop keeps."""

from __future__ import annotations

import json
from random import Random
from types import SimpleNamespace
from typing import cast

from provisioning.commands import Commands, Hooks
from provisioning.conversation import DeviceEnd, LaptopEnd
from provisioning.errors import CommandRefused, IdentityError, ProvisioningError, SessionError
from provisioning.frames import FROM_LAPTOP, FrameDecoder, Kind, encode
from provisioning.frames import Frame as SerialFrame
from provisioning.host.client import _result
from provisioning.host.known import KnownDevices
from provisioning.identity import Identity
from provisioning.selftest import SelfTests
from provisioning.session import TlsSession, device_context, laptop_context
from provisioning.types import Peer
from storage.primitives import canonical_json
from tests.fuzz.engine import Target
from tests.fuzz.held import held, memory_folder
from tests.fuzz.sources import Source, either, exactly, json_like, mutated, wrapped
from tests.fuzz.targets_certificates import BUNDLE_SIGNED

# --- the line ---------------------------------------------------------------------------------------------------------

_FOLDER = memory_folder() / "identity"
_IDENTITY = Identity.create(_FOLDER, "dev-1")
_SERVER, _CLIENT = device_context(_IDENTITY), laptop_context()
_SESSION = 7


def _conversation() -> tuple[list[bytes], list[bytes]]:
    """The TLS bytes of one handshake and request: from the laptop, from the device."""
    device = TlsSession(_SERVER, server_side=True)
    laptop = TlsSession(_CLIENT, server_side=False)
    said: tuple[list[bytes], list[bytes]] = ([], [])
    for _ in range(4):
        said[0].append(laptop.outgoing())
        device.receive(said[0][-1])
        said[1].append(device.outgoing())
        laptop.receive(said[1][-1])
    return [part for part in said[0] if part], [part for part in said[1] if part]


_FROM_LAPTOP, _FROM_DEVICE = _conversation()
_FRAMES = (
    encode(SerialFrame(Kind.OPEN, _SESSION, 0)),
    encode(SerialFrame(Kind.TO_DEVICE, _SESSION, 1, b"payload" * 5))
    + encode(SerialFrame(Kind.CLOSE, _SESSION, 2)),
    b"noise" + encode(SerialFrame(Kind.TO_DEVICE, _SESSION, 1, bytes(200))),
)


def _frames(data: bytes) -> bool:
    decoder = FrameDecoder(FROM_LAPTOP)
    found = [frame for begin in range(0, len(data), 60) for frame in decoder.feed(data[begin : begin + 60])]
    return bool(found + decoder.idle())


def _as_frames(kind: Kind, opening: bytes, first: int) -> Source:
    """A source of whole frames around mutated TLS bytes, numbered as they should be."""
    tls = _FROM_LAPTOP if kind is Kind.TO_DEVICE else _FROM_DEVICE
    source = either(mutated(*tls), mutated(b"".join(tls)), exactly(*tls))

    def make(rng: Random) -> bytes:
        data = source(rng)[:6000]
        pieces = (data[begin : begin + 2000] for begin in range(0, len(data), 2000))
        return opening + b"".join(
            encode(SerialFrame(kind, _SESSION, first + n, piece)) for n, piece in enumerate(pieces)
        )

    return make


def _device_end(data: bytes) -> bool:
    end = DeviceEnd(lambda: _SERVER, lambda message, _peer: message)
    answer = end.feed(data) + end.idle()
    return not end.failures and bool(answer)


def _laptop_end(data: bytes) -> bool:
    end = LaptopEnd(_CLIENT, _SESSION)
    end.feed(data)
    end.idle()
    return True


def _messages(data: bytes) -> bool:
    """The length-prefixed messages inside the session."""
    there = cast("TlsSession", SimpleNamespace(_plain=bytearray(data)))
    found = 0
    while TlsSession._cut(there) is not None:
        found += 1
    return found > 0


# --- commands ---------------------------------------------------------------------------------------------------------

_COMMANDS = Commands(_FOLDER, SelfTests(), Hooks(now_us=lambda: 5))
_ENROLLED_PEER = Peer("pat", "technician")
_REQUESTS = (
    b'{"command":"hello","id":1,"params":{}}',
    b'{"command":"status","id":2}',
    b'{"command":"selftest","id":3,"params":{"names":["camera"]}}',
    b'{"command":"reset","id":4,"params":{"confirm":"another"}}',
    canonical_json(
        {
            "command": "install",
            "id": 5,
            "params": {"confirm_ca": "0" * 64, "document": BUNDLE_SIGNED.decode()},
        }
    ),
    b'{"command":"install","id":6,"params":{"document":"{}"}}',
)
_WORDS = ('"hello"', '"status"', '"install"', '"selftest"', '"csr"', '{"names":[]}', '{"document":"[]"}')


def _command(data: bytes) -> bool:
    answer = json.loads(_COMMANDS.handle(data, _ENROLLED_PEER))
    return bool(answer["ok"])


def _known(data: bytes) -> object:
    return KnownDevices(held(data))._load() or None


TARGETS = (
    Target(
        "serial-frames",
        _frames,
        either(mutated(*_FRAMES, tokens=(b"\xa7W", b"\xa7")), _as_frames(Kind.TO_DEVICE, b"", 0)),
    ),
    Target(
        "device-end",
        _device_end,
        either(
            _as_frames(Kind.TO_DEVICE, _FRAMES[0], 1),
            wrapped(mutated(*_FRAMES), lambda data: _FRAMES[0] + data),
        ),
    ),
    Target(
        "laptop-end",
        _laptop_end,
        either(_as_frames(Kind.TO_LAPTOP, b"", 0), mutated(encode(SerialFrame(Kind.ABORT, _SESSION, 0)))),
        (SessionError,),
    ),
    Target(
        "session-messages",
        _messages,
        mutated(b"\0\0\0\2ab\0\0\0\0", b"\0\0\0\5abc", tokens=(b"\0\0\0\1", b"\0\4\0\0", b"\0\4\0\1")),
        (SessionError,),
    ),
    Target(
        "command",
        _command,
        either(json_like(*_REQUESTS, words=_WORDS), json_like(*_REQUESTS[:4]), mutated(*_REQUESTS)),
    ),
    Target(
        "command-answer",
        lambda data: _result(data, 1),
        json_like(
            b'{"id":1,"ok":true,"result":{"a":1}}', b'{"error":{"code":"x","message":"y"},"id":1,"ok":false}'
        ),
        (CommandRefused, SessionError),
    ),
    Target(
        "known-devices",
        _known,
        either(json_like(b'{"dev-1":"00","dev-2":"11"}'), mutated(b'{"dev-1":"00"}')),
        (ProvisioningError, IdentityError),
    ),
)
