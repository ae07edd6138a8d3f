# SPDX-License-Identifier: Apache-2.0
"""What every test is checked for at its end is really noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from .leftovers import held


def test_a_thread_a_device_and_a_child_are_noticed() -> None:
    before, stop = held(), threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    thread.start()
    master, slave = os.openpty()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = held().since(before)
    stop.set()
    thread.join()
    os.close(master)
    os.close(slave)
    child.communicate(b"\n")
    assert "thread forgotten" in found
    assert f"child process {child.pid}" in found
    assert any(line.startswith("open /dev/p") for line in found)
    assert held().since(before) == []
