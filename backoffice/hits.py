# SPDX-License-Identifier: Apache-2.0
"""Hits: kept sealed as they came, opened in memory for the officer, decided once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import RowMapping, case, func, select, update

from backoffice.db import hits, insert_once
from backoffice.errors import BadRequest, Conflict, HitNotOpenable, HitUnreadable, NotFound
from backoffice.office import Office
from storage.atomic import write_atomic
from storage.errors import NotARecipientError, StorageError, UnsupportedVersionError
from storage.seal import open_sealed
from sync.errors import BadRecord
from sync.schema import HIT_INFO, HitRecord

CACHED_HITS = 128  # opened hits kept in memory, so that a refreshing page does not open them again
MAX_NOTE_CHARACTERS = 500
KNOWN_VERSION = 1  # of a hit's record
UNKNOWN_FIELD = "extra_forbidden"  # the kind of refusal that BadRecord names for a field of a later version
# a follow-up is no alert of its own: the hit that it takes back is what stays open
_OPEN = case((hits.c.decision.is_(None) & hits.c.supersedes.is_(None), 1), else_=0)


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
    """One stored hit; `record` is None when it cannot be opened with the keys at hand.

    `superseded_by`: the hit that takes this one back, and `correction` what that says; `supersedes`: the other way.
    """

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
    supersedes: str | None = None
    superseded_by: str | None = None
    correction: str = ""

    @property
    def taken_back(self) -> bool:
        """Whether a later hit takes this one back."""
        return self.superseded_by is not None

    @property
    def follow_up(self) -> bool:
        """Whether this hit only takes an earlier one back: nothing to decide, no alert of its own."""
        return self.supersedes is not None


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
            self._link(hit_id)  # a crash may have come between the row and its link
            return False
        record = self._open(hit_id, sealed)
        if record.read.device_id != device_id:
            raise HitUnreadable("the hit was read by another device than the one that sent it")
        if record.supersedes == hit_id:
            raise HitUnreadable("the hit takes itself back")
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
            "supersedes": record.supersedes,
        }
        new = insert_once(self._office.engine, hits, row)
        if not new and self._row(hit_id)["blob"] != digest:
            with contextlib.suppress(OSError):  # the same hit sealed twice: the other request won
                path.unlink()
        self._link(hit_id)
        return new

    def _link(self, hit_id: str) -> None:
        """Mark what this hit takes back, and this hit where its correction came first; of one device only."""
        row = self._row(hit_id)
        mine = hits.c.device_id == row["device_id"]
        follow_up = select(hits.c.hit_id).where(hits.c.supersedes == hit_id, mine).limit(1)
        with self._office.engine.begin() as connection:
            if row["supersedes"] is not None:
                earlier = update(hits).where(hits.c.hit_id == row["supersedes"], mine)
                connection.execute(earlier.values(superseded_by=hit_id))
            later = connection.execute(follow_up).scalar()
            if later is not None:
                connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(superseded_by=later))

    def exists(self, hit_id: str, device_id: str) -> bool:
        """Whether this device's hit is here; Conflict when another device used the id."""
        try:
            row = self._row(hit_id)
        except NotFound:
            return False
        if row["device_id"] != device_id:
            raise Conflict("this hit id belongs to another device")
        return True

    def recent(self, limit: int, *, offset: int = 0) -> list[Hit]:
        """Open hits first, then decided ones; each newest first by when the office got them."""
        query = (
            select(hits)
            .order_by(_OPEN.desc(), hits.c.received_us.desc(), hits.c.hit_id)
            .limit(limit)
            .offset(offset)
        )
        with self._office.engine.connect() as connection:
            rows = list(connection.execute(query).mappings())
        return [self._hit(row) for row in rows]

    def each(self) -> Iterator[Hit]:
        """Every hit in the order of arrival, opened one at a time."""
        query = select(hits).order_by(hits.c.received_us, hits.c.hit_id)
        with self._office.engine.connect() as connection:
            rows = list(connection.execute(query).mappings())
        for row in rows:
            yield self._hit(row)

    def count(self) -> tuple[int, int]:
        """(all, open)."""
        with self._office.engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(hits)).scalar_one()
            waiting = select(func.count()).select_from(hits).where(_OPEN == 1)
            return total, connection.execute(waiting).scalar_one()

    def get(self, hit_id: str) -> Hit:
        """One hit; NotFound."""
        return self._hit(self._row(hit_id))

    def decide(self, hit_id: str, by: str, verdict: Verdict) -> None:
        """Record the decision, once: Conflict when somebody decided before."""
        self.check_decidable(hit_id, verdict)
        change = update(hits).where(hits.c.hit_id == hit_id, hits.c.decision.is_(None))
        if verdict.decision is Decision.ACCEPTED:
            change = change.where(hits.c.superseded_by.is_(None))
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
            taken = connection.execute(change.values(values)).rowcount == 1
        if not taken:  # somebody decided, or a correction arrived, since the check
            self.check_decidable(hit_id, verdict)
            raise Conflict("this hit changed meanwhile: look again")

    def check_decidable(self, hit_id: str, verdict: Verdict) -> None:
        """BadRequest for an incoherent verdict or one that a correction rules out; Conflict when decided before."""
        check_verdict(verdict)
        row = self._row(hit_id)
        if row["decision"] is not None:
            raise Conflict("this hit was decided already")
        if row["supersedes"] is not None:
            raise BadRequest("this hit takes an earlier one back: decide that one")
        if row["superseded_by"] is not None and verdict.decision is Decision.ACCEPTED:
            raise BadRequest("this hit was taken back by the unit: it can only be rejected")

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
            supersedes=row["supersedes"],
            superseded_by=row["superseded_by"],
            correction=self._correction(row["superseded_by"]),
        )

    def _correction(self, hit_id: str | None) -> str:
        """What the follow-up says; a reason to look at it when it cannot be opened."""
        if hit_id is None:
            return ""
        row = self._row(hit_id)
        record = None if row["deleted_us"] else self._record(hit_id, row["blob"])
        return (record.correction if record else "") or "see the follow-up"

    def _record(self, hit_id: str, blob: str) -> HitRecord | None:
        with self._lock:
            if hit_id in self._opened:
                self._opened.move_to_end(hit_id)
                return self._opened[hit_id]
        try:
            record = self._open(hit_id, (self._office.layout.blobs / blob).read_bytes())
        except (OSError, HitUnreadable, HitNotOpenable):
            return None  # listed as "cannot be opened": a hit is never hidden
        with self._lock:
            self._opened[hit_id] = record
            while len(self._opened) > CACHED_HITS:
                self._opened.popitem(last=False)
        return record

    def _open(self, hit_id: str, sealed: bytes) -> HitRecord:
        if self._key is None:
            raise HitNotOpenable("the hits key is not loaded")
        try:
            plain = open_sealed(sealed, self._key, info=HIT_INFO, aad=hit_id.encode())
        except (NotARecipientError, UnsupportedVersionError) as error:
            raise HitNotOpenable(f"the hit cannot be opened here: {error}") from error
        except StorageError as error:
            raise HitUnreadable(f"the hit cannot be opened: {error}") from error
        record = _decoded(plain)
        if record.hit_id != hit_id:
            raise HitUnreadable("the hit inside has another id than its envelope")
        return record


def _decoded(plain: bytes) -> HitRecord:
    """The record; HitNotOpenable when a later version wrote it, HitUnreadable when nothing can have."""
    try:
        return HitRecord.decode(plain)
    except BadRecord as error:
        if _is_later(plain) or UNKNOWN_FIELD in str(error):
            raise HitNotOpenable("the hit is of a later version: update this software") from error
        raise HitUnreadable(f"the hit does not follow its format: {error}") from error


def _is_later(plain: bytes) -> bool:
    try:
        version = json.loads(plain)["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return type(version) is int and version > KNOWN_VERSION
