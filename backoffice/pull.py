# SPDX-License-Identifier: Apache-2.0
"""Pulling a device's sealed segments and their shares over its LAN port; resumes where it stopped.

Order: shares of every epoch listed or held first (they die by retention, and without them nothing opens), then
reads, then images, the oldest first. A segment that fails becomes a problem of the report; the others go on.
What is held is never cut, replaced or removed here, whatever the device says.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import update

from backoffice.db import devices as device_table
from backoffice.device_link import connected
from backoffice.devices import get_device
from backoffice.errors import Conflict, DeviceProtocolError, DeviceUnreachable, Refused
from backoffice.known_epochs import remember_epochs
from backoffice.limits import LIMITS
from backoffice.office import Office
from backoffice.segments import SegmentFolder
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.reader import parse_header
from storage.root_of_trust import FileRootOfTrust
from storage.types import SegmentKind
from sync.errors import AuthRejected, OfficeUnavailable, TransportError
from sync.limits import MAX_SHARE_EPOCHS
from sync.pull_client import PullClient
from sync.schema import SegmentItem

HEADER_BYTES = 64 << 10  # enough of a segment to read its header


@dataclass(slots=True)
class PullReport:
    """What one pull did. `missing_epochs` have no share any more; `gone` segments were deleted meanwhile."""

    device: str
    segments: int = 0
    fetched: int = 0
    bytes: int = 0
    shares: int = 0
    missing_epochs: list[int] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def open_keyring(office: Office) -> Keyring:
    """The office's keyring of pulled shares."""
    return Keyring.open(office.layout.keyring, FileRootOfTrust(office.layout.trust))


def pull(office: Office, device_id: str, url: str) -> PullReport:
    """Fetch missing shares, then new segments. Raises DeviceUnreachable, DeviceUntrusted, DeviceProtocolError."""
    device = get_device(office, device_id)
    if device.revoked_us is not None:
        raise Refused(f"{device_id} is revoked; nothing is pulled from it")
    report = PullReport(device_id)
    folder = SegmentFolder(office.layout.segments)
    with connected(office, device, url) as client:
        listed = client.segments()
        _check_id(listed.device_id, device_id)
        report.segments = len(listed.segments)
        epochs = {item.epoch for item in listed.segments} | _held_epochs(folder, report)
        remember_epochs(office, device_id, epochs)  # each must end in a deletion receipt
        _fetch_shares(office, client, epochs, report)
        _fetch_all(client, folder, sorted(listed.segments, key=_urgency), report)
    _remember(office, device_id, url)
    return report


def _urgency(item: SegmentItem) -> tuple[bool, int, str]:
    return item.kind != SegmentKind.READS, item.epoch, item.segment_id


def _fetch_all(
    client: PullClient, folder: SegmentFolder, items: list[SegmentItem], report: PullReport
) -> None:
    for number, item in enumerate(items):
        try:
            _fetch(client, folder, item, report)
        except AuthRejected:
            raise  # concerns the device as a whole
        except (TransportError, Conflict) as error:
            report.problems.append(f"{item.segment_id}: {error}; the next pull goes on from here")
        except DeviceUnreachable as error:
            left = len(items) - number
            report.problems.append(f"{error}: {left} segments were not looked at; repeat the pull")
            return


def _fetch(client: PullClient, folder: SegmentFolder, item: SegmentItem, report: PullReport) -> None:
    path = folder.path(report.device, item.segment_id)
    held = folder.size(report.device, item.segment_id)
    if held == item.size:
        return
    why_not = _why_not(folder, path, held, item)
    if why_not:
        report.problems.append(f"{item.segment_id}: {why_not}")
        return
    try:
        for piece in client.pieces(item, start=held):
            folder.append(path, held, piece)
            held += len(piece)
            report.bytes += len(piece)
    except OfficeUnavailable as error:
        if error.status != http.client.NOT_FOUND:
            raise
        report.gone.append(item.segment_id)  # its retention ended between the listing and now
        return
    finally:
        folder.settle(path)
    report.fetched += 1


def _why_not(folder: SegmentFolder, path: Path, held: int, item: SegmentItem) -> str:
    """Why a segment is not fetched: what is held counts for more than what a device says later."""
    if item.size > LIMITS.segment_bytes:
        return f"over {LIMITS.segment_bytes} bytes, not fetched"
    if held > item.size:  # a tail cut after a crash, a damaged flash, or a device in wrong hands
        return f"the device lists {item.size} bytes, {held} are here: the longer copy is kept"
    if held and folder.is_closed(path):
        return f"the device lists {item.size} bytes, the copy here is complete with {held}: it is kept"
    return ""


def _fetch_shares(office: Office, client: PullClient, epochs: set[int], report: PullReport) -> None:
    keyring = open_keyring(office)
    need = sorted(epochs - set(keyring.epochs(scope=report.device)))
    for at in range(0, len(need), MAX_SHARE_EPOCHS):
        asked = need[at : at + MAX_SHARE_EPOCHS]
        try:
            answer = client.shares(asked)
        except AuthRejected:
            raise
        except TransportError as error:
            report.problems.append(f"shares of {len(asked)} epochs: {error}; repeat the pull soon")
            continue
        _check_id(answer.device_id, report.device)
        try:
            keyring.import_shares(report.device, answer.shares)
        except StorageError as error:
            raise DeviceProtocolError(f"the shares cannot be kept: {error}") from error
        report.shares += len(answer.shares)
        report.missing_epochs += sorted(set(asked) - answer.shares.keys())


def _check_id(answered: str, device_id: str) -> None:
    if answered != device_id:
        raise DeviceProtocolError("the answer names another device than the certificate")


def _held_epochs(folder: SegmentFolder, report: PullReport) -> set[int]:
    found = set()
    for _, path in folder.all(report.device):
        try:
            found.add(_header_epoch(path))
        except StorageError as error:
            report.problems.append(f"{path.stem}: {error}")
    return found


def _header_epoch(path: Path) -> int:
    with path.open("rb") as file:
        return parse_header(file.read(HEADER_BYTES)).epoch


def _remember(office: Office, device_id: str, url: str) -> None:
    change = update(device_table).where(device_table.c.device_id == device_id)
    with office.engine.begin() as connection:
        connection.execute(change.values(pull_url=url))
