# SPDX-License-Identifier: Apache-2.0
"""A root of trust that remembers how it does, and is left alone for a while when it does not answer.

Without that each read of a new hour would wait for a dead chip as long as the first one did, and hits behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from storage.errors import RootOfTrustBusyError, RootOfTrustError, SlotMissingError
from storage.root_of_trust import RootOfTrust

HOLD_OFF_S = 30.0  # after it did not answer in time
T = TypeVar("T")


class WatchedRoot:
    """Another root of trust, its failures remembered in `trouble`: what is wrong and what to do, empty when well."""

    def __init__(self, root: RootOfTrust, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic_s = monotonic_s
        self._quiet_until_s = -float("inf")
        self.trouble = ""

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._root.name

    @property
    def best_effort(self) -> bool:
        """As the backend says."""
        return self._root.best_effort

    def store(self, slot_secret: bytes) -> str:
        """Keep a secret; its handle. Raises RootOfTrustError."""
        return self._asked(lambda: self._root.store(slot_secret))

    def load(self, handle: str) -> bytes:
        """The secret; raises SlotMissingError or RootOfTrustError."""
        return self._asked(lambda: self._root.load(handle))

    def destroy(self, handle: str) -> None:
        """Destroy a secret; an absent one is fine. Raises RootOfTrustError."""
        self._asked(lambda: self._root.destroy(handle))

    def handles(self) -> list[str]:
        """Handles of all secrets that are held. Raises RootOfTrustError."""
        return self._asked(self._root.handles)

    def recover(self) -> None:
        """Destroy what a crash left half-made; only while nobody stores. Raises RootOfTrustError."""
        self._asked(self._root.recover)

    def _asked(self, work: Callable[[], T]) -> T:
        if self._monotonic_s() < self._quiet_until_s:
            raise RootOfTrustBusyError(self.trouble)
        try:
            result = work()
        except SlotMissingError:
            self.trouble = ""  # it does answer
            raise
        except RootOfTrustError as error:
            self.trouble = str(error)
            if isinstance(error, RootOfTrustBusyError):
                self._quiet_until_s = self._monotonic_s() + HOLD_OFF_S
            raise
        self.trouble = ""
        return result
