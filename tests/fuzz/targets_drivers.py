# SPDX-License-Identifier: Apache-2.0
"""Targets in drivers: what receivers, modems, chargers, sensors and cameras send."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np

from drivers import at
from drivers.camera_v4l2 import V4l2Camera
from drivers.errors import GnssLost
from drivers.gpsd_json import GpsdReader
from drivers.line_buffer import ANY_END, LineBuffer
from drivers.nmea import NmeaReader, checksum
from drivers.power_sysfs import _supply, _temperature_c, _throttle_word
from drivers.power_vedirect import _thousandth
from drivers.pps import Pulse
from drivers.replay_files import Skipped, _decode
from drivers.sysfs import Sensors
from drivers.vedirect import VeDirectReader, encode
from tests.fuzz.engine import Target
from tests.fuzz.held import held, memory_folder
from tests.fuzz.sources import either, joined, json_like, mutated, wrapped

# --- GNSS -----------------------------------------------------------------------------------------------------------

_RMC = b"GNRMC,120000.50,A,4131.5200,N,08804.9100,W,0.4,181.2,150926,,,A"
_BODIES = (
    _RMC,
    b"GNGGA,120000.50,4131.5200,N,08804.9100,W,1,09,0.9,170.1,M,-33.5,M,,",
    b"GNGST,120000.50,12.0,3.1,2.2,45.0,2.4,3.3,5.0",
    b"GPRMC,235960.00,V,,,,,,,310399,,,N",
)
_NMEA_WORDS = (
    b",",
    b",,",
    b"A",
    b"*",
    b"$",
    b".",
    b"99",
    b"9999999999",
    b"290228",
    b"000000",
    b"1e5",
    b"nan",
)
_GPSD = (
    b'{"class":"TPV","mode":3,"time":"2026-09-15T12:00:00.5Z","lat":41.5,"lon":-88.1,"speed":1.5,"track":90.5,"eph":4.2,"status":2}',
    b'{"class":"SKY","hdop":0.9,"uSat":9}',
    b'{"class":"GST","lat":2.5,"lon":3.5}',
    b'{"class":"VERSION","proto_major":3}',
    b'{"class":"DEVICES","devices":[{"path":"/dev/ttyS0"}]}',
)


def _checked(body: bytes) -> bytes:
    body = body.replace(b"\n", b"")
    return b"$%b*%02X\r\n" % (body, checksum(body))


def _nmea(data: bytes) -> bool:
    reader = NmeaReader("gnss")
    for begin in range(0, len(data), 50):
        reader.feed(data[begin : begin + 50])
    reader.feed(b"\n")
    return reader.counters.used > 0


def _gpsd(data: bytes) -> bool:
    reader = GpsdReader("gnss")
    reader.feed(data + b"\n")
    return reader.counters.used > 0 or reader.counters.damaged == 0


# --- modem, charger, lines ------------------------------------------------------------------------------------------

_ANSWERS = (
    b"+CPIN: READY\r\nOK\r\n",
    b'+COPS: 0,0,"Verizon, LLC",7\r\nOK\r\n',
    b"+CSQ: 20,99\r\nOK\r\n",
    b"+CESQ: 99,99,255,255,20,50\r\nOK\r\n",
    b'+CEREG: 0,1\r\n+CEREG: 1,"00C3","0001"\r\nOK\r\n',
    b'+CGDCONT: 1,"IPV4V6","apn.example"\r\nOK\r\n',
    b"+CME ERROR: 10\r\n",
)
_FIELDS = {"PID": "0xA042", "V": "12850", "I": "-1500", "VPV": "18000", "CS": "3", "LOAD": "ON"}
_FRAME = encode(_FIELDS)


def _modem(data: bytes) -> bool:
    lines, taken = at.AtLines(), False
    for line in lines.feed(data + b"\r"):
        for wanted in ("+CSQ", "+CEREG", "+COPS"):
            taken |= at.Answer(wanted).take(line)
        answer = at.Answer()
        answer.take(line)
        at.sim_card(line, answer.error)
        at.values_of(line), at.rssi_dbm(line), at.rsrp_dbm(line)
        at.registration(line), at.operator(line), at.access_point(line)
    return taken


def _vedirect(data: bytes) -> bool:
    reader = VeDirectReader()
    frames = reader.feed(data)
    for frame in frames:
        _thousandth(frame, "V")
        _thousandth(frame, "I")
    return bool(frames)


def _summed(body: bytes) -> bytes:
    body += b"\r\nChecksum\t"
    return body + bytes([-sum(body) % 256])


def _lines(data: bytes) -> bool:
    buffer = LineBuffer(64, ANY_END)
    lines = [line for begin in range(0, len(data), 7) for line in buffer.feed(data[begin : begin + 7])]
    return bool(lines)


# --- sensors --------------------------------------------------------------------------------------------------------

_SYS = memory_folder()
_HOTTEST = _SYS / "class/thermal/thermal_zone0"
_CHIP = _SYS / "class/hwmon/hwmon0"
_FLAGS = _SYS / "devices/platform/soc/soc:firmware"
for _folder in (_HOTTEST, _CHIP, _FLAGS):
    _folder.mkdir(parents=True)
(_CHIP / "name").write_text("ina3221\n")
(_CHIP / "in1_label").write_text("VDD_IN\n")


def _sensor(data: bytes) -> bool:
    sensors = Sensors(_SYS)
    number = sensors.number(held(data), "it")
    sensors.number(held(data), "it", 16)
    sensors.text(held(data))
    Pulse(held(data)).last_ns()
    return number is not None


def _board(data: bytes) -> bool:
    (_HOTTEST / "temp").write_bytes(data)
    (_CHIP / "in1_input").write_bytes(data)
    (_CHIP / "curr1_input").write_bytes(data)
    (_FLAGS / "get_throttled").write_bytes(data)
    sensors = Sensors(_SYS)
    _supply(sensors)
    _throttle_word(sensors)
    return _temperature_c(sensors) is not None


# --- pictures -------------------------------------------------------------------------------------------------------

_PIXELS = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
_PICTURES = tuple(bytes(cv2.imencode(kind, _PIXELS)[1]) for kind in (".jpg", ".bmp"))
_PICTURE = memory_folder() / "picture.jpg"
_CAMERA = cast("V4l2Camera", SimpleNamespace(_caps=SimpleNamespace(size=(16, 16))))


def _frame_of_camera(data: bytes) -> object:
    return V4l2Camera._decode(_CAMERA, cast("Any", np.frombuffer(data, np.uint8)))


def _replayed(data: bytes) -> object:
    _PICTURE.write_bytes(data)
    return _decode(Path(_PICTURE), Skipped())


TARGETS = (
    Target(
        "nmea",
        _nmea,
        either(
            wrapped(mutated(*_BODIES, tokens=_NMEA_WORDS), _checked),
            joined(wrapped(mutated(*_BODIES, tokens=_NMEA_WORDS), _checked), 3),
            mutated(*(_checked(body) for body in _BODIES), tokens=_NMEA_WORDS),
        ),
    ),
    Target(
        "gpsd",
        _gpsd,
        joined(either(json_like(*_GPSD), json_like(*_GPSD), mutated(*_GPSD)), 3, b"\n"),
        (GnssLost,),
    ),
    Target(
        "modem", _modem, joined(mutated(*_ANSWERS, tokens=(b"OK\r\n", b"+", b":", b'"', b",", b"ERROR")), 2)
    ),
    Target(
        "vedirect",
        _vedirect,
        either(
            mutated(_FRAME, _FRAME + b":A1\n" + _FRAME),
            wrapped(mutated(_FRAME[:-11], tokens=(b"\r\n", b"\t", b":")), _summed),
        ),
    ),
    Target("lines", _lines, mutated(b"ab\r\n" * 5, b"x" * 90 + b"\n" + b"y\n", tokens=(b"\r", b"\n"))),
    Target(
        "sensor",
        _sensor,
        mutated(b"51500\n", b"-2\n", b"0xe0008\n", b"1790000000.123456789#5\n", b"VDD_IN\n"),
    ),
    Target("board", _board, mutated(b"51500\n", b"e0008\n", b"-1\n")),
    Target(
        "camera-jpeg",
        _frame_of_camera,
        mutated(_PICTURES[0], tokens=(b"\xff\xc0", b"\xff\xda", b"\xff\xd9", b"\xff\xc4")),
    ),
    Target("replay-picture", _replayed, mutated(*_PICTURES, tokens=(b"\xff\xc0", b"BM"))),
)
