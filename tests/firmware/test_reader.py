# SPDX-License-Identifier: Apache-2.0
"""The reader frame by frame: the real nets, tracker, store, spool and matcher on the simulated roadside."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.registry import open_camera
from drivers.types import Exposure, Frame
from firmware.alerts import Alerts
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.ledger import Ledger
from firmware.reader import Reader
from firmware.records import Origin
from firmware.sealing import Vault
from firmware.tap import Tap
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.tracker import Tracker
from storage.errors import DiskFullError
from storage.keyring import Keyring
from storage.reader import read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.seal import open_sealed
from storage.spool import Spool
from storage.store import Store, list_segments
from storage.types import Recipient, SegmentKind
from sync.schema import HIT_INFO, HitRecord, ImageKind, ImageRecord, MatchKind, Position, ReadRecord

from .test_matching import Lists, make_list

LISTED = "BX71304"
FRAMES = 15 * 9  # two vehicles of the seeded road


@dataclass
class Rig:
    """A reader on real parts, and the agency's key to look at what it sealed."""

    reader: Reader
    alerts: Alerts
    vault: Vault
    store_root: Path
    keyring: Keyring
    hits: Spool
    ledger: Ledger
    agency: ec.EllipticCurvePrivateKey

    def opened(self, kind: SegmentKind) -> list[bytes]:
        found: list[bytes] = []
        for info in list_segments(self.store_root):
            if info.kind is kind:
                share = self.keyring.peek(info.epoch)
                assert share is not None
                content = read_segment(
                    info.path.read_bytes(), share=share, private_key=self.agency, verify_key=None
                )
                found += content.records
        return found

    def hit(self, hit_id: str) -> HitRecord:
        return HitRecord.decode(
            open_sealed(self.hits.read(hit_id), self.agency, info=HIT_INFO, aad=hit_id.encode())
        )


class NoRetention:
    """Nothing expires in a test of seconds."""

    def run(self, now: object) -> list[object]:
        return []


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    agency = ec.generate_private_key(ec.SECP256R1())
    recipient = Recipient.of(agency.public_key())
    keyring = Keyring.open(tmp_path / "keyring", FileRootOfTrust(tmp_path / "trust"))
    store = Store.open(
        tmp_path / "store",
        keyring=keyring,
        recipients=[recipient],
        signer=ec.generate_private_key(ec.SECP256R1()),
        device_id="dev-1",
        boot_id="boot-1",
    )
    hits = Spool.open(tmp_path / "hits")
    vault = Vault(store, hits, NoRetention(), [recipient])
    lists = Lists()
    lists.lists, lists.generation = [make_list(LISTED)], "1"
    watch = lists.watch()
    clock = DeviceClock(tmp_path / "clock.json")
    watch.refresh(clock.now_us())
    ledger = Ledger(tmp_path / "ledger.json")
    alerts = Alerts(vault, ledger, Tap(None), tmp_path / "alerts.json", 30.0)
    reader = Reader(
        Pipeline(load_models()),
        Tracker(),
        vault,
        watch,
        alerts,
        clock=clock,
        ledger=ledger,
        tap=Tap(None),
        origin=Origin("dev-1", "cam0"),
        settings=EyeConfig(),
    )
    yield Rig(reader, alerts, vault, tmp_path / "store", keyring, hits, ledger, agency)
    vault.close()


def _drive(rig: Rig, frames: int = FRAMES) -> None:
    camera = open_camera("sim", {"seed": 1, "pace": "max", "listed": [LISTED], "day_seconds": 600})
    for _ in range(frames):
        frame = camera.capture(1.0)
        assert frame is not None
        rig.reader.take(frame)
    camera.close()
    rig.reader.flush()


def test_a_pass_becomes_one_read_with_its_pictures_and_a_hit(rig: Rig) -> None:
    _drive(rig)
    acked = rig.vault.commit()
    reads = [ReadRecord.decode(payload) for payload in rig.opened(SegmentKind.READS)]
    images = [ImageRecord.decode(payload) for payload in rig.opened(SegmentKind.IMAGES)]
    assert LISTED in [read.text for read in reads]
    assert len({read.text for read in reads}) == len(reads) == rig.reader.reads
    listed = next(read for read in reads if read.text == LISTED)
    assert listed.frames_agreed >= 3
    assert (listed.state is None) is (listed.state_confidence is None)
    assert listed.state_note != "not read"
    assert {image.kind for image in images if image.read_id == listed.read_id} == {
        ImageKind.CROP,
        ImageKind.SCENE,
    }
    payloads = rig.opened(SegmentKind.READS) + rig.opened(SegmentKind.IMAGES)
    assert sorted(a.sha256 for a in acked) == sorted(hashlib.sha256(p).hexdigest() for p in payloads)
    (item,) = rig.hits.pending()
    hit = rig.hit(item.id)
    assert hit.preliminary  # it left while the vehicle was in sight; the whole pass bore it out
    assert (hit.entry.plate, hit.match.kind, hit.read.read_id) == (LISTED, MatchKind.EXACT, listed.read_id)
    assert hit.crop_jpeg.startswith(b"\xff\xd8")
    assert rig.ledger.totals()["frames"] == FRAMES


def test_a_hit_leaves_before_the_vehicle_has_passed(rig: Rig) -> None:
    camera = open_camera("sim", {"seed": 1, "pace": "max", "listed": [LISTED], "day_seconds": 600})
    for _ in range(FRAMES):
        frame = camera.capture(1.0)
        assert frame is not None
        rig.reader.take(frame)
        if rig.hits.pending():
            break
    camera.close()
    assert rig.hits.pending()
    assert rig.reader.reads <= 1  # the listed vehicle is the second; it is still in sight


def test_a_full_disk_costs_no_hit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFullError("no space left: free some")

    with monkeypatch.context() as broken:
        broken.setattr(rig.hits, "put", full)
        broken.setattr(rig.vault, "keep_images", full)
        _drive(rig)
    assert rig.alerts.owed == 1
    assert not rig.hits.pending()
    assert rig.ledger.totals()["lost: reads the disk refused"] >= 1
    rig.alerts.retry_owed()
    assert rig.alerts.owed == 0
    assert len(rig.hits.pending()) == 1


def test_a_picture_that_cannot_be_read_is_counted(rig: Rig) -> None:
    tiny = Frame(np.zeros((8, 8, 3), np.uint8), 0, 0, 1, Exposure(1000, 1.0), ir=False)
    assert rig.reader.take(tiny).reads == []
    assert rig.ledger.totals() == {"frames": 1, "rejected: bad picture": 1}


def test_every_rejected_candidate_is_counted_by_its_reason(rig: Rig) -> None:
    camera = open_camera("sim", {"seed": 1, "pace": "max", "listed": [LISTED], "day_seconds": 600})
    expected: Counter[str] = Counter()
    for _ in range(FRAMES):
        frame = camera.capture(1.0)
        assert frame is not None
        expected.update(f"rejected: {one.reason}" for one in rig.reader.take(frame).rejected)
    camera.close()
    counted = {what: n for what, n in rig.ledger.totals().items() if what.startswith("rejected: ")}
    assert counted == dict(expected)
    assert counted


def test_the_scene_is_taken_of_the_long_exposure_and_the_read_says_where_it_was(rig: Rig) -> None:
    camera = open_camera("sim", {"seed": 1, "pace": "max", "listed": [LISTED], "day_seconds": 600})
    here = Position(lat=41.5, lon=-87.5, source="gnss")
    rig.reader._place = lambda _at_us: here
    for index in range(FRAMES):
        frame = camera.capture(1.0)
        assert frame is not None
        if index % 10 == 9:
            rig.reader.show(replace(frame, pixels=np.full_like(frame.pixels, 200)))
        else:
            rig.reader.take(frame)
    camera.close()
    rig.reader.flush()
    rig.vault.commit()
    reads = [ReadRecord.decode(payload) for payload in rig.opened(SegmentKind.READS)]
    assert {read.position for read in reads} == {here}
    images = [ImageRecord.decode(payload) for payload in rig.opened(SegmentKind.IMAGES)]
    scenes = [image for image in images if image.kind is ImageKind.SCENE]
    assert scenes
    for scene in scenes:
        shown = cv2.imdecode(np.frombuffer(scene.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert abs(float(shown.mean()) - 200.0) < 3.0
    assert rig.ledger.totals()["frames"] == FRAMES


def test_without_scenes_the_plate_s_picture_is_kept_and_it_is_counted(rig: Rig) -> None:
    rig.reader.scenes = False
    _drive(rig)
    rig.vault.commit()
    images = [ImageRecord.decode(payload) for payload in rig.opened(SegmentKind.IMAGES)]
    assert {image.kind for image in images} == {ImageKind.CROP}
    assert rig.ledger.totals()["given up: scene pictures"] == rig.reader.reads
