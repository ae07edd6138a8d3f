# SPDX-License-Identifier: Apache-2.0
"""Raises hits: once for a vehicle pass, told at once, and takes back what later frames contradict.

A hit is told (heard in the unit, seen on the terminal) before the disk has it, for a disk may hang or refuse; until the
spool has it, it is owed: kept in RAM, in order, and tried again. The entries that were alerted in the last seconds
are kept in a small file (entry ids and times, no plate), so that a crash in mid-pass does not alert twice. What is owed
is not among them: after a crash the next read of that vehicle has to alert, or the office never hears of it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from firmware.keeper import Later, at_once
from firmware.ledger import Ledger
from firmware.sealing import Vault
from firmware.tap import Tap
from storage.errors import StorageError
from sync.schema import HitRecord, ReadRecord

MAX_OWED = 1_000  # hits kept in RAM while the disk refuses them or hangs
MAX_TOLD = 4_096  # ids of hits, so that none is told twice
MAX_MEMORY = 512  # alerted entries remembered
US_PER_S = 1_000_000

log = structlog.get_logger(__name__)


class Alerts:
    """Thread-safe: the inference thread raises, others bring the hits of late lists; the spool is `later`'s work."""

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        tap: Tap,
        memory: Path,
        realert_s: float,
        announce: Callable[[HitRecord], None] = lambda _hit: None,
        later: Later = at_once,
    ) -> None:
        self._vault = vault
        self._ledger = ledger
        self._tap = tap
        self._memory_path = memory
        self._announce = announce
        self._later = later
        self._realert_us = round(realert_s * US_PER_S)
        self._lock = threading.RLock()  # never held while the disk works
        self._told: OrderedDict[str, None] = OrderedDict()
        self._refused = ""  # the hit whose refusal was told last
        self._owed: OrderedDict[str, HitRecord] = OrderedDict()
        self._alerted: OrderedDict[str, tuple[int, str]] = _recall(memory)  # entry and source -> time, hit id
        self.raised = 0

    @property
    def owed(self) -> int:
        """Hits that wait in RAM because the disk has not taken them."""
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
        """Asks for another try to store what is owed."""
        if self._owed:
            self._later(self._store_oldest)

    def end(self) -> None:
        """Counts what the disk never took: it is gone with the RAM."""
        with self._lock:
            lost, self._owed = list(self._owed.values()), OrderedDict()
        for hit in lost:
            self._lose(hit, "lost: hits owed at the end")
        if lost:
            log.error("hits_lost_at_end", count=len(lost))

    def _put(self, hit: HitRecord) -> None:
        """Told, and owed until the spool has it."""
        if hit.hit_id not in self._told:
            self._tell(hit)
        self._owed[hit.hit_id] = hit
        while len(self._owed) > MAX_OWED:
            _, lost = self._owed.popitem(last=False)
            self._lose(lost, "lost: hits owed beyond the bound")
        self._later(self._store_oldest)

    def _store_oldest(self) -> None:
        """One into the spool; the next one is another job, so that a slow disk is seen to advance."""
        hit = self._oldest_owed()
        if hit is None:
            return
        try:
            self._vault.raise_hit(hit)
        except (OSError, StorageError) as error:
            self._not_stored(hit, error)
            if isinstance(error, OSError) or not error.permanent:
                return
            self._lose(hit, "lost: hits that the outbox does not take")
        with self._lock:
            if self._owed.get(hit.hit_id) is hit:
                del self._owed[hit.hit_id]
        self._keep()
        self.retry_owed()

    def _oldest_owed(self) -> HitRecord | None:
        with self._lock:
            return next(iter(self._owed.values()), None)

    def _not_stored(self, hit: HitRecord, error: Exception) -> None:
        if hit.hit_id != self._refused:
            self._refused = hit.hit_id
            log.error("hit_not_stored", hit_id=hit.hit_id, owed=len(self._owed), reason=str(error))

    def _lose(self, hit: HitRecord, why: str) -> None:
        self._ledger.count(hit.read.camera, hit.read.captured_us, why)

    def _tell(self, hit: HitRecord) -> None:
        self._told[hit.hit_id] = None
        while len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
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

    def _keep(self) -> None:
        """What was alerted and is in the spool."""
        with self._lock:
            stored = {key: at for key, at in self._alerted.items() if at[1] not in self._owed}
        alerted = json.dumps(stored)
        _keep(self._memory_path, alerted)


def _keep(path: Path, alerted: str) -> None:
    """Survives a crash of the process, not a power cut: nothing is synced. A full disk costs only this memory."""
    staged = path.with_suffix(".tmp")
    try:
        staged.write_text(alerted, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        log.warning("alerts_not_remembered", reason=str(error.strerror))


def _recall(path: Path) -> OrderedDict[str, tuple[int, str]]:
    try:
        raw = json.loads(path.read_bytes())
        return OrderedDict((str(key), (int(at_us), str(hit_id))) for key, (at_us, hit_id) in raw.items())
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return OrderedDict()
