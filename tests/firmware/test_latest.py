# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from firmware.latest import LatestQueue


def test_the_oldest_gives_way_and_is_counted() -> None:
    queue: LatestQueue[int] = LatestQueue(2)
    for number in range(5):
        queue.put(number)
    assert [queue.get(0), queue.get(0), queue.get(0)] == [3, 4, None]
    assert queue.dropped == 3


def test_a_closed_queue_is_emptied_first() -> None:
    queue: LatestQueue[int] = LatestQueue(3)
    queue.put(1)
    queue.close()
    assert not queue.finished
    assert queue.get(0) == 1
    assert queue.finished


def test_put_blocking_waits_for_the_reader() -> None:
    queue: LatestQueue[int] = LatestQueue(1)
    queue.put(1)
    assert not queue.put_blocking(2, 0.01)
    reader = threading.Timer(0.05, lambda: queue.get(1))
    reader.start()
    assert queue.put_blocking(2, 5)
    assert queue.get(0) == 2
    assert queue.dropped == 0
