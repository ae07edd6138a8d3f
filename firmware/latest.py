# SPDX-License-Identifier: Apache-2.0
"""The queue between camera and inference: bounded, and when it is full the oldest frame gives way to the newest."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestQueue(Generic[T]):
    """`put` never blocks; what gave way is counted in `dropped`. `close` lets the reader empty the rest."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._ready = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Adds the newest; drops the oldest beyond the capacity."""
        with self._ready:
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._ready.notify()

    def put_blocking(self, item: T, timeout_s: float) -> bool:
        """Waits for room instead (a replayed file loses no picture); False when there was none in time."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._closed or len(self._items) < self._capacity, timeout_s):
                return False
            self._items.append(item)
            self._ready.notify_all()
            return True

    def get(self, timeout_s: float) -> T | None:
        """The oldest waiting item, or None after `timeout_s` or when closed and empty."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._items) or self._closed, timeout_s)
            item = self._items.popleft() if self._items else None
            self._ready.notify_all()
            return item

    def close(self) -> None:
        """No more items will come."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def finished(self) -> bool:
        """Closed and empty."""
        with self._ready:
            return self._closed and not self._items

    def __len__(self) -> int:
        with self._ready:
            return len(self._items)
