# SPDX-License-Identifier: Apache-2.0
"""The fault table: for each fault of a driver what is told, and that it is over when the fault is.

Letters of the scripts: docs/hardware/README.md, "Scripted faults".
"""

from __future__ import annotations

from firmware.health import Condition
from storage.types import StoreLimits

from .fault_bench import Fault
from .fault_serial import gnss, modem
from .fault_subjects import (
    alert_pins_busy,
    battery,
    camera,
    clock_jumps,
    disk,
    lamp,
    lamp_pin_busy,
    power,
    stage_stands_still,
    watchdog_refuses,
)

PLENTY = 1 << 40
LIMITS = StoreLimits()
DEGRADED = Condition.DEGRADED

FAULTS = (
    Fault("camera unplugged", "camera", ("lost",), camera("...u"), 400, quick=False),
    Fault("camera frozen", "camera", ("frozen",), camera("...ffff" + "." * 60), 400),
    Fault("camera dark", "camera", ("dark",), camera("...ddddd" + "." * 60), 400),
    Fault("camera blinded", "camera", ("blinded",), camera("...bbbbb" + "." * 60), 400, DEGRADED),
    Fault(
        "camera silent",
        "camera",
        ("slow",),
        camera("..tttt" + "." * 60, pace="real"),
        900,
        DEGRADED,
        quick=False,
    ),
    Fault("lamp dead", "lamp", ("dead",), lamp("." * 40 + "x" * 60), 200, quick=False),
    Fault("lamp's pin busy", "lamp", ("busy",), lamp_pin_busy, 60),
    Fault("buzzer's pins busy", "alert_outputs", ("busy",), alert_pins_busy, 400, quick=False),
    Fault("receiver sends garbage", "gnss", ("garbage",), gnss("." * 10 + "g" * 60), 200, DEGRADED),
    Fault("receiver's week rolled over", "gnss", ("old_week",), gnss("." * 10 + "r" * 20), 200, DEGRADED),
    Fault("receiver unplugged", "gnss", ("lost",), gnss("." * 5 + "u" * 20), 200, DEGRADED),
    Fault("receiver's cable cut", "gnss", ("lost",), gnss("." * 5 + "s" * 40), 200, DEGRADED),
    Fault("pole moved", "gnss", ("moved",), gnss("." * 5 + "m" * 400), 900),
    Fault("modem mute", "modem", ("mute",), modem("." * 35 + "m" * 120), 400, quick=False),
    Fault(
        "modem finds no network", "modem", ("not_registered",), modem("." * 35 + "n" * 200), 600, quick=False
    ),
    Fault("clock jumped", "clock", ("jumped",), clock_jumps, 900, DEGRADED),
    Fault("overheating", "power", ("hot", "throttled"), power((".", 20), ("h", 120)), 900, DEGRADED),
    Fault("brown-out", "power", ("undervoltage",), power((".", 20), ("u", 200)), 2000, DEGRADED),
    Fault(
        "battery low", "power", ("battery_low",), battery((13.1, 20), (12.1, 200), (13.1, 1)), 2000, DEGRADED
    ),
    Fault("battery empty", "power", ("battery_low",), power((".", 20), ("l", 200)), 200, over=False),
    Fault("sensors unreadable", "power", ("unreadable",), power((".", 20), ("x", 60)), 300, DEGRADED),
    Fault("watchdog refuses", "watchdog", ("unavailable",), watchdog_refuses, 60),
    Fault("watchdog starves", "watchdog", ("starving",), stage_stands_still, 60),
    Fault(
        "disk fills",
        "disk",
        ("nearly_full", "full"),
        disk(
            PLENTY,
            LIMITS.min_free_for_images_bytes - 1,
            LIMITS.min_free_for_reads_bytes - 1,
            LIMITS.min_free_for_reads_bytes - 1,
            PLENTY,
        ),
        20,
    ),
)
