# SPDX-License-Identifier: Apache-2.0
"""What the audit log says when an act on a hold is done, and which acts are done and were not told.

An act is told after its document says that it is done. Where that failed (a crash, a full disk) the log ends, for this
hold, with the intention. Only such an act is told later: a document alone proves nothing.
"""

from __future__ import annotations

from typing import Final

from backoffice.hold_file import Hold, HoldState
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.audit import AuditEntry

REQUESTED: Final = "hold_requested"
END_ASKED: Final = "hold_release_asked"
MADE: Final = "hold_made"
LAPSED: Final = "hold_lapsed"
KEPT: Final = "hold_kept"
DROPPED: Final = "hold_dropped"
ENDED: Final = "hold_ended"
# the intention and what the document says then: what the log says when that is done
_DONE: Final = {
    ("hold_approve", HoldState.HELD): MADE,
    ("hold_approve", HoldState.LAPSED): LAPSED,
    ("hold_keep", HoldState.HELD): KEPT,
    ("hold_drop", HoldState.DROPPED): DROPPED,
    ("hold_end", HoldState.ENDED): ENDED,
}
_ACTS: Final = (*{intention for intention, _ in _DONE}, *_DONE.values(), "hold_release", END_ASKED)
MAX_SEGMENTS_TOLD = 200  # of a case's segments, in one entry


def last_acts(office: Office) -> dict[str, AuditEntry]:
    """The last entry of the audit log about an act on each hold, by the hold's id; raises AuditUnavailable."""
    return {str(entry.fields.get("hold")): entry for entry in office.audit.entries(*_ACTS)}


def untold(hold: Hold, last: AuditEntry | None) -> str | None:
    """The event that is missing in the audit log, given its last entry about this hold; None when all is told."""
    return None if last is None else _DONE.get((last.event, hold.state))


def is_told(office: Office, hold: Hold, asked_by: str, event: str) -> bool:
    """Whether the last such entry of the audit log is of this person and, for a request, of this very one."""
    told_of: AuditEntry | None = None
    for entry in office.audit.entries(event):
        if entry.fields.get("hold") == hold.hold_id:
            told_of = entry
    if told_of is None or told_of.fields.get("user") != asked_by:
        return False
    return event != REQUESTED or told_of.fields.get("request_sha256") == hold.request_sha256


def told_fields(office: Office, hold: Hold, event: str) -> dict[str, object]:
    """What an entry says beside the hold and its case; raises StorageError kinds."""
    if event == MADE:
        about: dict[str, object] = {"asked_by": hold.asked_by, "problems": len(hold.problems)}
    elif event == ENDED:
        root = open_keyring(office).root
        about = {"root_of_trust": root.name, "best_effort": root.best_effort}
    else:
        return {}
    segments = [[file.header_sha256, file.records] for file in hold.files][:MAX_SEGMENTS_TOLD]
    return {**about, "held": hold.held, "segments": segments}
