# SPDX-License-Identifier: Apache-2.0
"""What a device destroys when it leaves an agency: nothing of the old one is kept for, or sent to, the next.

Order: the shares go first (no segment opens any more, here or from a copy of the disk), then the segment files, what
waits in the outboxes, the retention policies, the hot lists with their floors; then the audit log says so. Each step
may be repeated, so a handover that was cut is finished by running it again. Receipts and audit log stay: they hold no
reads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from storage.audit import AuditLog
from storage.errors import WriteFailedError
from storage.files import OS_FILES
from storage.keyring import Keyring
from storage.layout import SEGMENT_SUFFIX, DataLayout
from storage.spool import Spool
from storage.types import SegmentKind
from sync.errors import ListStoreError
from sync.hotlists.store import ListStore


def _any(_queued_us: int) -> bool:
    """All that waits, whenever it was queued."""
    return True


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was destroyed: epochs (shares), segment files, queued hits and receipts, hot lists."""

    epochs: int
    segments: int
    hits: int
    receipts: int
    lists: int


def forget_agency(layout: DataLayout, keyring: Keyring, lists: ListStore, audit: AuditLog) -> Forgotten:
    """Destroy what belongs to the agency; raises StorageError kinds, and can then be run again.

    The services that write must be stopped, or restart afterwards: a segment that is open in the eye goes with it.
    """
    epochs = keyring.epochs()
    keyring.destroy(epochs)
    found = Forgotten(
        epochs=len(epochs),
        segments=_unlink_segments(layout),
        hits=len(Spool.open(layout.hits_spool).expire(_any)),
        receipts=len(Spool.open(layout.receipts_spool).expire(_any)),
        lists=len(lists.files()),
    )
    _unlink_policies(layout)
    try:
        lists.reset()
    except ListStoreError as error:
        raise WriteFailedError(str(error)) from error
    audit.append("agency_forgotten", asdict(found))
    return found


def _unlink_policies(layout: DataLayout) -> None:
    """The next agency's retention begins with its own bundle."""
    try:
        for path in (layout.policies, layout.policy_offer):
            if path.exists():
                OS_FILES.unlink(path)
                OS_FILES.fsync_dir(path.parent)
    except OSError as error:
        raise WriteFailedError(
            f"cannot remove the retention policy of {layout.root}: check the disk"
        ) from error


def _unlink_segments(layout: DataLayout) -> int:
    count = 0
    try:
        for kind in SegmentKind:
            folder = layout.store / kind.value
            for path in folder.glob(f"*{SEGMENT_SUFFIX}"):
                OS_FILES.unlink(path)
                count += 1
            if folder.is_dir():
                OS_FILES.fsync_dir(folder)
    except OSError as error:
        raise WriteFailedError(f"cannot remove segments of {layout.store}: check the disk") from error
    return count
