# SPDX-License-Identifier: Apache-2.0
"""Raises hits: into the spool at once, once for a vehicle pass, and takes back what later frames contradict.

A hit that the disk refuses is owed: kept in RAM and tried again. The entries that were alerted in the last seconds
are kept in a small file (entry ids and times, no plate), so that a crash in mid-pass does not alert twice.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from firmware.ledger import Ledger
from firmware.sealing import Vault
from firmware.tap import Tap
from storage.errors import StorageError
from sync.schema import HitRecord, ReadRecord

MAX_OWED = 1_000  # hits kept in RAM while the disk refuses them
MAX_MEMORY = 512  # alerted entries remembered
US_PER_S = 1_000_000

log = structlog.get_logger(__name__)


class Alerts:
    """Thread-safe: the inference thread raises, the main thread retries and brings the hits of late lists."""

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        tap: Tap,
        memory: Path,
        realert_s: float,
        announce: Callable[[HitRecord], None] = lambda _hit: None,
    ) -> None:
        self._vault = vault
        self._ledger = ledger
        self._tap = tap
        self._memory_path = memory
        self._announce = announce
        self._realert_us = round(realert_s * US_PER_S)
        self._lock = threading.RLock()
        self._owed: OrderedDict[str, HitRecord] = OrderedDict()
        self._alerted: OrderedDict[str, tuple[int, str]] = _recall(memory)  # entry and source -> time, hit id
        self.raised = 0

    @property
    def owed(self) -> int:
        """Hits that wait in RAM because the disk refuses them."""
        return len(self._owed)

    def raise_all(self, hits: Sequence[HitRecord], source: str = "") -> list[HitRecord]:
        """Raises each hit unless its entry was alerted moments ago for the same pass; gives those that stand."""
        return [hit for hit in hits if self._raise_once(hit, source)]

    def _raise_once(self, hit: HitRecord, source: str) -> bool:
        key = f"{hit.match.list_id}/{hit.entry.entry_id}/{source}"
        with self._lock:
            at_us, known = self._alerted.get(key, (0, ""))
            again = known != hit.hit_id and abs(hit.read.captured_us - at_us) <= self._realert_us
            if again:
                self._ledger.count(hit.read.camera, hit.read.captured_us, "repeated: same alert")
                return False
            if known != hit.hit_id:
                self._remember(key, hit)
            self._put(hit)
        return True

    def withdraw(
        self, early: Sequence[HitRecord], final: ReadRecord | None, standing: Sequence[HitRecord]
    ) -> None:
        """Follows up on early hits that the whole pass does not bear out: the office must not act on them."""
        still = {hit.hit_id for hit in standing}
        for hit in early:
            if hit.hit_id in still:
                continue
            seen = f"all frames together read {final.text}" if final else "all frames together give no read"
            update = {
                "hit_id": hashlib.sha256(f"{hit.hit_id}/corrected".encode()).hexdigest()[:32],
                "read": final or hit.read,
                "preliminary": False,
                "supersedes": hit.hit_id,
                "correction": f"{seen}: not the listed plate",
            }
            self._ledger.count(hit.read.camera, hit.read.captured_us, "early hit taken back")
            log.warning("hit_taken_back", hit_id=hit.hit_id)
            with self._lock:
                self._put(hit.model_copy(update=update))

    def retry_owed(self) -> None:
        """Tries again to store what is owed; stops at the first refusal."""
        with self._lock:
            while self._owed:
                hit_id, hit = next(iter(self._owed.items()))
                if not self._put(hit):
                    return
                self._owed.pop(hit_id, None)

    def _put(self, hit: HitRecord) -> bool:
        """Into the spool; False when the disk refuses it and it is owed."""
        try:
            fresh = self._vault.raise_hit(hit)
        except StorageError as error:
            self._owe(hit, str(error))
            return False
        if fresh:
            self._tell(hit)
        return True

    def _owe(self, hit: HitRecord, reason: str) -> None:
        if hit.hit_id not in self._owed:
            log.error("hit_not_stored", hit_id=hit.hit_id, owed=len(self._owed) + 1, reason=reason)
        self._owed[hit.hit_id] = hit
        while len(self._owed) > MAX_OWED:
            _, lost = self._owed.popitem(last=False)
            self._ledger.count(lost.read.camera, lost.read.captured_us, "lost: hits owed beyond the bound")

    def _tell(self, hit: HitRecord) -> None:
        self.raised += 1
        self._announce(hit)  # the people in the unit hear and see it, also that it was taken back
        self._ledger.count(hit.read.camera, hit.read.captured_us, "hits")
        log.info("hit_raised", hit_id=hit.hit_id, kind=hit.match.kind.value, list_id=hit.match.list_id)
        self._tap.send(
            "hit",
            hit_id=hit.hit_id,
            captured_us=hit.read.captured_us,
            text=hit.read.text,
            listed=hit.entry.plate,
            category=hit.entry.category,
            kind=hit.match.kind.value,
            explanation=hit.correction or hit.match.explanation,
            corrects=hit.supersedes or "",
        )

    def _remember(self, key: str, hit: HitRecord) -> None:
        newest = hit.read.captured_us
        self._alerted[key] = (newest, hit.hit_id)
        self._alerted.move_to_end(key)
        old = [k for k, (at_us, _) in self._alerted.items() if abs(newest - at_us) > self._realert_us]
        for k in old:
            del self._alerted[k]
        while len(self._alerted) > MAX_MEMORY:
            self._alerted.popitem(last=False)
        _keep(self._memory_path, self._alerted)


def _keep(path: Path, alerted: OrderedDict[str, tuple[int, str]]) -> None:
    """Survives a crash of the process, not a power cut: nothing is synced. A full disk costs only this memory."""
    staged = path.with_suffix(".tmp")
    try:
        staged.write_text(json.dumps(alerted), encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        log.warning("alerts_not_remembered", reason=str(error.strerror))


def _recall(path: Path) -> OrderedDict[str, tuple[int, str]]:
    try:
        raw = json.loads(path.read_bytes())
        return OrderedDict((str(key), (int(at_us), str(hit_id))) for key, (at_us, hit_id) in raw.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return OrderedDict()
