# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from firmware.tap import Tap, read_tap


def test_events_pass_and_a_half_line_is_left_out() -> None:
    reader, writer = os.pipe()
    Tap(writer).send("read", text="made up")
    os.write(writer, b'{"event": "cut')
    os.close(writer)
    assert list(read_tap(reader)) == [{"event": "read", "text": "made up"}]


def test_a_reader_that_left_does_not_stop_the_eye() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    tap = Tap(writer)
    tap.send("read")
    tap.send("read")
    os.close(writer)


def test_without_a_descriptor_nothing_is_said() -> None:
    Tap(None).send("read", text="made up")
