# SPDX-License-Identifier: Apache-2.0
"""Hits: kept sealed as they came, opened in memory for the officer, decided once."""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import RowMapping, func, select, update

from backoffice.db import hits, insert_once
from backoffice.errors import BadRequest, Conflict, HitUnreadable, NotFound
from backoffice.office import Office
from storage.atomic import write_atomic
from storage.errors import StorageError
from storage.seal import open_sealed
from sync.errors import BadRecord
from sync.schema import HIT_INFO, HitRecord

CACHED_HITS = 128  # opened hits kept in memory, so that a refreshing page does not open them again
MAX_NOTE_CHARACTERS = 500


class Decision(StrEnum):
    """What the officer found."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why; every decision has one."""

    CORRECT = "correct"
    WRONG_CHARACTERS = "wrong characters"
    WRONG_STATE = "wrong state"
    STALE_ENTRY = "stale entry"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An officer's decision: characters and state are confirmed separately."""

    decision: Decision
    characters_ok: bool
    state_ok: bool
    reason: Reason
    note: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One stored hit; `record` is None when it cannot be opened with the keys at hand."""

    hit_id: str
    device_id: str
    received_us: int
    raised_us: int
    record: HitRecord | None
    decision: Decision | None
    decided_us: int | None
    decided_by: str | None
    characters_ok: bool | None
    state_ok: bool | None
    reason: Reason | None
    note: str | None
    deleted_us: int | None = None


def check_verdict(verdict: Verdict) -> None:
    """BadRequest unless the verdict is coherent: accepting needs characters and state, rejecting a fault."""
    if len(verdict.note) > MAX_NOTE_CHARACTERS:
        raise BadRequest(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
    both = verdict.characters_ok and verdict.state_ok
    if verdict.decision is Decision.ACCEPTED and not both:
        raise BadRequest("accepting needs the characters and the state confirmed, each by its own mark")
    if verdict.decision is Decision.ACCEPTED and verdict.reason is not Reason.CORRECT:
        raise BadRequest("an accepted hit has the reason 'correct'")
    if verdict.decision is Decision.REJECTED and verdict.reason is Reason.CORRECT:
        raise BadRequest(
            "a rejected hit needs the reason why: wrong characters, wrong state, stale entry, other"
        )
    if verdict.reason is Reason.WRONG_CHARACTERS and verdict.characters_ok:
        raise BadRequest("the characters are marked as right, and the reason says that they are wrong")
    if verdict.reason is Reason.WRONG_STATE and verdict.state_ok:
        raise BadRequest("the state is marked as right, and the reason says that it is wrong")
    if verdict.reason is Reason.OTHER and not verdict.note.strip():
        raise BadRequest("the reason 'other' needs a note")


class HitStore:
    """Hits of one office. `private_key` opens them; None keeps them listed and closed."""

    def __init__(self, office: Office, private_key: ec.EllipticCurvePrivateKey | None) -> None:
        self._office = office
        self._key = private_key
        self._opened: OrderedDict[str, HitRecord] = OrderedDict()
        self._lock = Lock()

    def put(self, hit_id: str, device_id: str, sealed: bytes) -> bool:
        """Store a sealed hit durably, once; True when it is new. HitUnreadable when it cannot be this hit."""
        if self.exists(hit_id, device_id):
            return False
        record = self._open(hit_id, sealed)
        if record.read.device_id != device_id:
            raise HitUnreadable("the hit was read by another device than the one that sent it")
        digest = hashlib.sha256(sealed).hexdigest()
        path = self._office.layout.blobs / digest
        write_atomic(path, sealed)  # before the row: a row must never lack its body
        row = {
            "hit_id": hit_id,
            "device_id": device_id,
            "received_us": self._office.clock(),
            "raised_us": record.raised_us,
            "blob": digest,
            "stale": record.match.stale,
        }
        new = insert_once(self._office.engine, hits, row)
        if not new and self._row(hit_id)["blob"] != digest:
            with contextlib.suppress(OSError):  # the same hit sealed twice: the other request won
                path.unlink()
        return new

    def exists(self, hit_id: str, device_id: str) -> bool:
        """Whether this device's hit is here; Conflict when another device used the id."""
        try:
            row = self._row(hit_id)
        except NotFound:
            return False
        if row["device_id"] != device_id:
            raise Conflict("this hit id belongs to another device")
        return True

    def recent(self, limit: int, *, undecided: bool = False) -> list[Hit]:
        """Newest first; the undecided ones alone when asked."""
        query = select(hits).order_by(hits.c.raised_us.desc(), hits.c.hit_id).limit(limit)
        if undecided:
            query = query.where(hits.c.decision.is_(None))
        with self._office.engine.connect() as connection:
            rows = list(connection.execute(query).mappings())
        return [self._hit(row) for row in rows]

    def count(self) -> tuple[int, int]:
        """(all, undecided)."""
        with self._office.engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(hits)).scalar_one()
            waiting = select(func.count()).select_from(hits).where(hits.c.decision.is_(None))
            return total, connection.execute(waiting).scalar_one()

    def get(self, hit_id: str) -> Hit:
        """One hit; NotFound."""
        return self._hit(self._row(hit_id))

    def decide(self, hit_id: str, by: str, verdict: Verdict) -> None:
        """Record the decision, once: Conflict when somebody decided before."""
        check_verdict(verdict)
        self._row(hit_id)
        change = update(hits).where(hits.c.hit_id == hit_id, hits.c.decision.is_(None))
        values = {
            "decision": str(verdict.decision),
            "decided_us": self._office.clock(),
            "decided_by": by,
            "characters_ok": verdict.characters_ok,
            "state_ok": verdict.state_ok,
            "reason": str(verdict.reason),
            "note": verdict.note.strip(),
        }
        with self._office.engine.begin() as connection:
            if connection.execute(change.values(values)).rowcount != 1:
                raise Conflict("this hit was decided already")

    def _row(self, hit_id: str) -> RowMapping:
        with self._office.engine.connect() as connection:
            row = connection.execute(select(hits).where(hits.c.hit_id == hit_id)).mappings().first()
        if row is None:
            raise NotFound("there is no such hit")
        return row

    def _hit(self, row: RowMapping) -> Hit:
        return Hit(
            hit_id=row["hit_id"],
            device_id=row["device_id"],
            received_us=row["received_us"],
            raised_us=row["raised_us"],
            record=None if row["deleted_us"] else self._record(row["hit_id"], row["blob"]),
            decision=Decision(row["decision"]) if row["decision"] else None,
            decided_us=row["decided_us"],
            decided_by=row["decided_by"],
            characters_ok=row["characters_ok"],
            state_ok=row["state_ok"],
            reason=Reason(row["reason"]) if row["reason"] else None,
            note=row["note"],
            deleted_us=row["deleted_us"],
        )

    def _record(self, hit_id: str, blob: str) -> HitRecord | None:
        with self._lock:
            if hit_id in self._opened:
                self._opened.move_to_end(hit_id)
                return self._opened[hit_id]
        try:
            record = self._open(hit_id, (self._office.layout.blobs / blob).read_bytes())
        except (OSError, HitUnreadable):
            return None  # listed as "cannot be opened": a hit is never hidden
        with self._lock:
            self._opened[hit_id] = record
            while len(self._opened) > CACHED_HITS:
                self._opened.popitem(last=False)
        return record

    def _open(self, hit_id: str, sealed: bytes) -> HitRecord:
        if self._key is None:
            raise HitUnreadable("the hits key is not loaded")
        try:
            plain = open_sealed(sealed, self._key, info=HIT_INFO, aad=hit_id.encode())
            record = HitRecord.decode(plain)
        except (StorageError, BadRecord) as error:
            raise HitUnreadable(f"the hit cannot be opened: {error}") from error
        if record.hit_id != hit_id:
            raise HitUnreadable("the hit inside has another id than its envelope")
        return record
