# SPDX-License-Identifier: Apache-2.0
"""What a pull leaves at the office, without the wire: reads with their pictures, hour by hour; people; the commands."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from office_world import PASSWORD, Clock, MadeDevice, make_read

from backoffice import cli, keys, retention
from backoffice.hold_choice import Selection
from backoffice.hold_file import HoldState
from backoffice.holds import Holds
from backoffice.office import Office, day_of
from backoffice.opening import Opener
from backoffice.people import Role
from backoffice.pull import open_keyring
from backoffice.search import Purpose, Query
from storage.audit import AuditEntry, read_entries
from storage.files import OS_FILES, Files
from storage.hold import HeldKind, HeldRecord
from storage.keyring import Keyring
from storage.reader import parse_header, read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import EPOCH_US, Recipient, SegmentKind
from sync.schema import ImageKind, ImageRecord, ReadImages, RecordRef

DAY_US = 24 * EPOCH_US
PICTURE = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
WHY = Query("", Purpose.CRIMINAL_INVESTIGATION, "hit and run", "25-1234")


class Road:
    """A device whose segments and shares are at the office; keeps what it sealed in clear, to compare."""

    def __init__(self, office: Office, device: MadeDevice, root: Path) -> None:
        self.office = office
        self.device = device
        self.sealed: dict[str, bytes] = {}  # read id -> read
        self._keyring = Keyring.open(root / "keyring", FileRootOfTrust(root / "trust"))
        self._root = root / "store"
        self._store = Store.open(
            self._root,
            keyring=self._keyring,
            recipients=[Recipient.of(keys.load_purpose_public(office.layout, keys.READS))],
            signer=device.key,
            device_id=device.device_id,
            boot_id="boot-1",
        )

    def see(self, read_id: str, text: str, at_us: int) -> None:
        """One vehicle with its two pictures."""
        refs = {}
        for kind in ImageKind:
            image = ImageRecord(read_id=read_id, kind=kind, media_type="image/jpeg", data=PICTURE)
            place = self._store.append(SegmentKind.IMAGES, image.encode(), at_us=at_us)
            refs[f"{kind}_ref"] = RecordRef(segment=place.segment, index=place.index)
        read = make_read(self.device.device_id, read_id, text, at_us)
        sealed = read.model_copy(update={"images": ReadImages(**refs)}).encode()
        self._store.append(SegmentKind.READS, sealed, at_us=at_us)
        self.sealed[read_id] = sealed

    def pulled(self) -> None:
        """Everything so far is at the office, with its shares."""
        self._store.commit()
        self._store.close()
        folder = self.office.layout.segments / self.device.device_id
        folder.mkdir(exist_ok=True)
        for info in self._store.segments():
            shutil.copy(info.path, folder / info.path.name)
            share = self._keyring.peek(info.epoch)
            assert share is not None
            open_keyring(self.office).import_share(self.device.device_id, info.epoch, share)

    def segments(self, kind: SegmentKind) -> list[Path]:
        folder = self.office.layout.segments / self.device.device_id
        return [
            path for path in sorted(folder.glob("*.wseg")) if parse_header(path.read_bytes()).kind == kind
        ]


def staff(office: Office) -> None:
    """A detective who asks, a sergeant and a chief who approve, an auditor; all with passwords of their own."""
    today = day_of(office.clock())
    for name, role in (
        ("doyle", Role.OPERATOR),
        ("sergeant", Role.SUPERVISOR),
        ("chief", Role.ADMINISTRATOR),
        ("auditor", Role.AUDITOR),
    ):
        office.people.add(name, role, today, office.clock(), PASSWORD)


def holds(office: Office, by: str = "doyle", files: Files = OS_FILES) -> Holds:
    def record(event: str, **fields: object) -> None:
        office.audit.record(event, user=by, at_us=office.clock(), **fields)

    return Holds(office, by, record, files=files)


def choice(*reads: str, **more: Any) -> Selection:
    return Selection(WHY, reads=reads, **more)


def held(office: Office, hold_id: str) -> list[HeldRecord]:
    """What opens of a hold; nothing may be wrong with it."""
    problems: list[str] = []
    mine = holds(office)
    records = list(mine.records(mine.get(hold_id), problems.append))
    assert problems == []
    return records


def reads_of(records: list[HeldRecord]) -> dict[str, bytes]:
    from sync.schema import ReadRecord

    found = [record.payload for record in records if record.kind is HeldKind.READ]
    return {ReadRecord.decode(payload).read_id: payload for payload in found}


def still_open(office: Office) -> list[str]:
    """Ids of the reads that open in the ordinary way."""
    return sorted(read.read_id for _, read in Opener(office, lambda _: None).reads())


def expire(office: Office) -> None:
    retention.delete(office, retention.plan(office), "office")


def thief_opens(office: Office, saved: Path) -> list[bytes]:
    """Every record in a saved copy of segment files that opens with the agency's key and every share of the office."""
    keyring = open_keyring(office)
    private = keys.load_purpose_key(office.layout, keys.READS)
    shares = [
        share
        for scope in keyring.scopes()
        for epoch in keyring.epochs(scope=scope)
        if (share := keyring.peek(epoch, scope=scope)) is not None
    ]
    found: list[bytes] = []
    for path in sorted(saved.rglob("*.wseg")):
        for share in shares:
            try:
                content = read_segment(path.read_bytes(), share=share, private_key=private, verify_key=None)
            except Exception:  # noqa: BLE001, S112 - a thief tries everything
                continue
            found += content.records
    return found


def command(office: Office, *words: str, by: str = "doyle", password: str = PASSWORD) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(password + "\n"))
        return cli.main(["--data", str(office.layout.root), "--as", by, *words])


def audit_of(office: Office, hold_id: str | None = None) -> list[AuditEntry]:
    entries = read_entries(office.layout.audit)
    return [entry for entry in entries if hold_id is None or entry.fields.get("hold") == hold_id]


def events(office: Office, hold_id: str | None = None) -> list[str]:
    return [entry.event for entry in audit_of(office, hold_id)]


def road_with(office: Office, device: MadeDevice, root: Path, hour_us: int, later_us: int = 0) -> Road:
    """Vehicles in one hour, four, and one that outlives it where `later_us` is given, else three; pulled; people."""
    made = Road(office, device, root)
    for number in range(4 if later_us else 3):
        made.see(f"r-{number}", f"AB100{number}", hour_us + number)
    if later_us:
        made.see("later", "XYZ789", later_us)
    made.pulled()
    staff(office)
    return made


def make_hold(office: Office, selection: Selection) -> str:
    """A hold that two people made; its id."""
    hold_id = holds(office, "doyle").request(selection).hold.hold_id
    assert holds(office, "sergeant").approve(hold_id).hold.state is HoldState.HELD
    return hold_id


def pass_away(office: Office, clock: Clock) -> None:
    """The hour passes its retention; what came later stays."""
    clock.forward(2 * 86_400)
    expire(office)
    assert still_open(office) == ["later"]
