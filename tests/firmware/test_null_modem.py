# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import serial

from firmware.null_modem import NullModem


def test_bytes_pass_both_ways() -> None:
    cable = NullModem()
    try:
        with (
            serial.Serial(cable.device, timeout=5) as device,
            serial.Serial(cable.laptop, timeout=5) as laptop,
        ):
            device.write(b"hello\r\n\x00")
            assert laptop.read(8) == b"hello\r\n\x00"
            laptop.write(b"back")
            assert device.read(4) == b"back"
    finally:
        cable.close()
