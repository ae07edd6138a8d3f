# SPDX-License-Identifier: Apache-2.0
"""Legal holds: chosen reads, their pictures and hits, kept for a case beyond the retention.

1. One person asks, another one approves; the same for the end of a hold. Each act is recorded before and after, and
   what is approved must be what the audit log says was asked for, by whom.
2. Until it is approved a hold keeps nothing: what is asked for dies on time.
3. Approving seals what was chosen under the case's own share (`storage.hold`). Nothing else of those epochs is kept,
   and never an epoch's share.
4. The end of a hold destroys the case's share; nothing of it opens any more, also from a copy of its files.

Order of writes of an approval: 1. the intention enters the audit log; 2. the document says `sealing`; 3. the case's
share is durable; 4. its segments are written and closed; 5. the document says `held` and names them (sole commit
point: only then is it told); 6. files of an earlier attempt are removed; 7. the audit log says what is held. Of an
end: 1. the intention; 2. the document says `ending`; 3. the share is destroyed (no return); 4. the files are unlinked;
5. the document says `ended`; 6. the audit log. What a crash cut off is finished by approving again; what stands behind
the commit point alone also by any other act on the hold, and by the hourly round (`hold_watch.finish_holds`).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from backoffice import keys
from backoffice.errors import BadRequest, Conflict, Refused
from backoffice.hits import HitStore
from backoffice.hold_choice import Chosen, Selection, check_selection, choose
from backoffice.hold_file import Asked, HeldFile, Hold, HoldFolder, HoldState, told
from backoffice.hold_sealing import Sealing, signer
from backoffice.hold_told import (
    DROPPED,
    END_ASKED,
    ENDED,
    KEPT,
    LAPSED,
    MADE,
    REQUESTED,
    is_told,
    last_acts,
    told_fields,
    untold,
)
from backoffice.office import Office, day_of
from backoffice.opening import Opener
from backoffice.people import Action, check_allowed
from backoffice.pull import open_keyring
from backoffice.retention_policy import dies_us, schedule
from backoffice.search import MAX_REASON_CHARACTERS, check_why
from storage.atomic import locked
from storage.files import OS_FILES, Files
from storage.hold import HeldKind, HeldRecord, HeldSegment, case_files, end_case, read_case, remove_files
from storage.retention_schedule import Calendar
from storage.types import epoch_of

LOCK_TIMEOUT_S = 30.0
HOUR_US = 3_600_000_000


class Recorder(Protocol):
    """Adds to the audit log in the name of who acts."""

    def __call__(self, event: str, **fields: object) -> object:
        """Record an event, durably."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done: the hold as it stands, pictures found with a request, and what is wrong or missing."""

    hold: Hold
    pictures: int = 0
    problems: tuple[str, ...] = ()


class Holds:
    """The holds of one office, for one person who acts: `by`, in whose name `record` writes."""

    def __init__(self, office: Office, by: str, record: Recorder, *, files: Files = OS_FILES) -> None:
        self._office = office
        self._by = by
        self._record = record
        self._files = files
        self._folder = HoldFolder(office.layout.holds, files=files)

    # --- Asking ---------------------------------------------------------------------------------------------

    def request(self, selection: Selection) -> Outcome:
        """Ask for a hold of what is here of a selection. Raises BadRequest, NotFound when it is nothing."""
        wanted = check_selection(selection)
        why = wanted.why
        reason, case = check_why(why.reason, why.case)
        hold_id = secrets.token_hex(4)
        self._record(
            "hold_request",
            hold=hold_id,
            case=case,
            purpose=str(why.purpose),
            reason=reason,
            plate=why.pattern,
            device=why.device_id,
            since_us=why.since_us,
            until_us=why.until_us,
            named=len(wanted.records) + len(wanted.reads),
            hits=list(wanted.hits),
        )
        problems: list[str] = []
        chosen = self._choose(wanted, problems)
        hold = Hold(
            hold_id=hold_id,
            case=case,
            reason=reason,
            purpose=why.purpose,
            asked_by=self._by,
            asked_us=self._office.clock(),
            reads=chosen.reads,
            hits=chosen.hits,
            asked_problems=told(problems),
        )
        with self._exclusive():
            self._folder.save(hold)
        counts = {"reads": len(chosen.reads), "pictures": chosen.pictures, "hits": len(chosen.hits)}
        self._record(
            REQUESTED,
            hold=hold.hold_id,
            case=case,
            hours_left=hours_left(self._office, hold),
            request_sha256=hold.request_sha256,
            **counts,
        )
        return Outcome(hold, chosen.pictures, tuple(problems))

    def drop(self, hold_id: str, why: str) -> Hold:
        """Withdraw or decline what is not held yet. Raises BadRequest, Refused, Conflict when it is held or closed."""
        reason = _reason(why)
        with self._exclusive():
            hold = self._finished(hold_id)[0]
            if not hold.pending:
                raise Conflict(f"this hold is {hold.state}: only one that waits can be dropped")
            self._check_may_drop(hold)
            self._record("hold_drop", hold=hold_id, case=hold.case, reason=reason)
            self._destroy(hold)
            dropped = self._close(hold, HoldState.DROPPED, reason)
            self._tell(dropped, DROPPED)
        return dropped

    def _check_may_drop(self, hold: Hold) -> None:
        """Who asked may withdraw; who may approve may decline. Anybody else could let evidence die."""
        if self._by == hold.asked_by:
            return
        person = self._office.people.get(self._by)
        try:
            check_allowed(person, Action.APPROVE_HOLD, day_of(self._office.clock()))
        except Refused as error:
            self._record("refused", action="hold_drop", hold=hold.hold_id, why=str(error))
            raise

    def ask_end(self, hold_id: str, why: str) -> Hold:
        """Ask for the end of a hold. Raises BadRequest, Conflict unless it is held."""
        reason = _reason(why)
        with self._exclusive():
            hold = self._finished(hold_id)[0]
            asked = hold.end_asked
            cut_off = (
                asked is not None
                and asked.by == self._by
                and not is_told(self._office, hold, asked.by, END_ASKED)
            )
            if hold.state is not HoldState.HELD and not (hold.state is HoldState.END_ASKED and cut_off):
                raise Conflict(f"this hold is {hold.state}: only what is held can be released")
            self._record("hold_release", hold=hold_id, case=hold.case, reason=reason)
            asked = Asked(by=self._by, at_us=self._office.clock(), why=reason)
            hold = hold.model_copy(update={"state": HoldState.END_ASKED, "end_asked": asked})
            self._folder.save(hold)
            self._tell(hold, END_ASKED)
        return hold

    def keep(self, hold_id: str, why: str) -> Hold:
        """Decline or withdraw an end that was asked for: the hold goes on. Raises Conflict unless one is."""
        reason = _reason(why)
        with self._exclusive():
            hold = self._finished(hold_id)[0]
            if hold.state is not HoldState.END_ASKED:
                raise Conflict(f"this hold is {hold.state}: nobody asked for its end")
            self._record("hold_keep", hold=hold_id, case=hold.case, reason=reason)
            hold = hold.model_copy(update={"state": HoldState.HELD, "end_asked": None})
            self._folder.save(hold)
            self._tell(hold, KEPT)
        return hold

    # --- Approving ------------------------------------------------------------------------------------------

    def approve(self, hold_id: str) -> Outcome:
        """Do what another person asked for, or finish what a crash cut off.

        Raises Refused to the person who asked, Conflict when nothing waits or nothing was left to hold.
        """
        with self._exclusive():
            hold, recovered = self._finished(hold_id)
            if recovered:
                return Outcome(hold, problems=hold.problems)
            if hold.pending:
                self._check_other(hold, hold.asked_by, REQUESTED)
                return self._hold(hold)
            if hold.state in {HoldState.END_ASKED, HoldState.ENDING} and hold.end_asked is not None:
                self._check_other(hold, hold.end_asked.by, END_ASKED)
                return Outcome(self._end(hold))
            raise Conflict(f"this hold is {hold.state}: nothing waits for an approval")

    def finish(self, hold_id: str) -> None:
        """Tell the audit log of an act that was done and not told. Raises NotFound, Conflict, AuditUnavailable."""
        with self._exclusive():
            self._finished(hold_id)

    def _check_other(self, hold: Hold, asked_by: str, event: str) -> None:
        """Refused to who asked, and when the document is not the one that the audit log tells of."""
        why = ""
        if asked_by == self._by:
            why = "who asked cannot approve: another person must"
        elif not is_told(self._office, hold, asked_by, event):
            why = "the audit log does not tell of this request as it stands here: drop it and ask again"
        if why:
            self._record("refused", action="hold_approve", hold=hold.hold_id, why=why)
            raise Refused(why)

    def _hold(self, hold: Hold) -> Outcome:
        now = self._office.clock()
        self._record("hold_approve", hold=hold.hold_id, case=hold.case, asked_by=hold.asked_by)
        begun = hold.model_copy(
            update={
                "state": HoldState.SEALING,
                "approved_by": self._by,
                "approved_us": now,
                "epoch": epoch_of(now) if hold.epoch is None else hold.epoch,
            }
        )
        sealing = Sealing(self._office, begun, self._folder.folder(hold.hold_id), self._files)
        self._folder.save(begun)
        segments = sealing.seal()
        if not segments:
            self._destroy(begun)
            lapsed = self._close(begun, HoldState.LAPSED, "nothing of it was left")
            self._tell(lapsed, LAPSED)
            raise Conflict(f"nothing of {lapsed.hold_id} is left: its retention ended before the approval")
        made = begun.model_copy(
            update={
                "state": HoldState.HELD,
                "files": tuple(_file(segment) for segment in segments),
                "held": dict(sealing.counts),
                "problems": told(sealing.problems),
            }
        )
        self._folder.save(made)
        self._tell(made, MADE)
        return Outcome(made, made.held.get(HeldKind.IMAGE, 0), tuple(sealing.problems))

    def _finished(self, hold_id: str) -> tuple[Hold, bool]:
        """The hold, and whether its last act was done and is told only now."""
        hold = self._folder.load(hold_id)
        act = last_acts(self._office).get(hold_id)
        event = untold(hold, act)
        if act is None or event is None:
            return hold, False
        self._tell(hold, event, recovered=True, done_by=str(act.fields.get("user")))
        return hold, True

    def _tell(self, hold: Hold, event: str, **more: object) -> None:
        """Behind an act's commit point: what an earlier attempt left is removed, then the audit log says it is done."""
        if event == MADE:
            named = {file.name for file in hold.files}
            folder = self._folder.folder(hold.hold_id)
            left = [path for path in case_files(folder) if path.name not in named]
            remove_files(folder, left, files=self._files)
        about = told_fields(self._office, hold, event)
        self._record(event, hold=hold.hold_id, case=hold.case, **about, **more)

    def _end(self, hold: Hold) -> Hold:
        asked = hold.end_asked
        self._record("hold_end", hold=hold.hold_id, case=hold.case, asked_by=asked.by if asked else "")
        ending = hold.model_copy(update={"state": HoldState.ENDING})
        self._folder.save(ending)
        self._destroy(ending)
        ended = self._close(ending, HoldState.ENDED, asked.why if asked else "")
        self._tell(ended, ENDED)
        return ended

    def _destroy(self, hold: Hold) -> None:
        keyring = open_keyring(self._office)
        end_case(keyring, self._folder.folder(hold.hold_id), hold.scope, files=self._files)

    def _close(self, hold: Hold, state: HoldState, why: str) -> Hold:
        """Closed for good; what it asked for and held stays on record."""
        closed = Asked(by=self._by, at_us=self._office.clock(), why=why)
        done = hold.model_copy(update={"state": state, "closed": closed})
        self._folder.save(done)
        return done

    # --- Looking --------------------------------------------------------------------------------------------

    def get(self, hold_id: str) -> Hold:
        """One hold; NotFound."""
        return self._folder.load(hold_id)

    def records(self, hold: Hold, on_problem: Callable[[str], None]) -> Iterator[HeldRecord]:
        """Everything held, opened; Conflict unless it is held. What does not open is told."""
        if not hold.opens:
            raise Conflict(f"this hold is {hold.state}: nothing of it can be opened")
        folder = self._folder.folder(hold.hold_id)
        return read_case(
            [folder / file.name for file in hold.files],
            hold.scope,
            open_keyring(self._office),
            private_key=keys.load_purpose_key(self._office.layout, keys.READS),
            verify_key=signer(self._office).public_key(),
            on_problem=on_problem,
        )

    def _choose(self, selection: Selection, problems: list[str]) -> Chosen:
        opener = Opener(self._office, problems.append)
        key = keys.load_purpose_key(self._office.layout, keys.HITS) if selection.hits else None
        return choose(self._office, opener, HitStore(self._office, key), selection, problems.append)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with locked(self._folder.lock, LOCK_TIMEOUT_S) as free:
            if not free:
                raise Conflict("another person changes a hold now: try again")
            yield


def next_loss_us(office: Office, hold: Hold) -> int | None:
    """When retention takes the next of what a hold asks for; None when nothing of it lives."""
    policies, now = schedule(office), office.clock()
    calendar = Calendar(policies)
    ends = [calendar.dies_us(epoch) for epoch in {read.epoch for read in hold.reads}]
    ends += [dies_us(policies, hit.since_us) for hit in hold.hits]
    return min((end for end in ends if end > now), default=None)


def hours_left(office: Office, hold: Hold) -> int:
    """Whole hours until retention takes the next of what a hold asks for; 0 when nothing of it lives."""
    end = next_loss_us(office, hold)
    return 0 if end is None else (end - office.clock()) // HOUR_US


def _file(segment: HeldSegment) -> HeldFile:
    return HeldFile(
        name=segment.name, records=segment.records, header_sha256=segment.header_sha256, size=segment.size
    )


def _reason(text: str) -> str:
    if not 1 <= len(text.strip()) <= MAX_REASON_CHARACTERS:
        raise BadRequest(f"say why, in 1 to {MAX_REASON_CHARACTERS} characters")
    if not text.isprintable():
        raise BadRequest("a reason is one line, without control characters")
    return text.strip()
