# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import threading

import independent_reader as other
import pytest
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, T0, Killed, Scripted, World

from storage.errors import (
    BadIdError,
    BadRecipientError,
    BadTimeError,
    DiskFullError,
    NotARecipientError,
    StoreBusyError,
    StoreClosedError,
    TooLargeError,
    WriteFailedError,
    WrongShareError,
)
from storage.fsck import verify_store
from storage.reader import read_segment
from storage.store import Store, list_segments
from storage.types import EPOCH_US, Recipient, SegmentKind, StoreLimits

READS, IMAGES = SegmentKind


def test_what_was_written_opens_with_both_halves(world) -> None:
    store = world.store()
    refs = [store.append(READS, b"read %d" % i, at_us=T0) for i in range(3)]
    store.append(IMAGES, b"jpeg" * 1000, at_us=T0)
    store.close()
    images, reads = store.segments()
    content = world.open(reads)
    assert content.records == [b"read 0", b"read 1", b"read 2"]
    assert content.closed
    assert content.complete
    assert content.header.device_id == "pole-7"
    assert (content.header.epoch, content.header.kind) == (HOUR, READS)
    assert [str(ref) for ref in refs] == [f"{reads.segment_id}:{i}" for i in range(3)]
    assert world.open(images).records == [b"jpeg" * 1000]
    assert (images.kind, images.path.parent.name, images.closed) == (IMAGES, "images", True)


def test_the_second_implementation_opens_it(world) -> None:
    store = world.store()
    store.append(READS, b"one", at_us=T0)
    store.append(READS, b"", at_us=T0)
    store.close()
    (info,) = store.segments()
    share = world.keyring().peek(HOUR)
    opened = other.open_segment(info.path.read_bytes(), share, AGENCY_KEY, DEVICE_KEY.public_key())
    assert (opened.records, opened.closed, opened.complete) == ([b"one", b""], True, True)


def test_the_device_cannot_open_what_it_wrote(world) -> None:
    """Everything on the device's disk, and its own key: no segment opens, and no plaintext lies about."""
    store = world.store()
    store.append(READS, b"a plaintext read", at_us=T0)
    store.close()
    (info,) = store.segments()
    share = world.keyring().peek(HOUR)
    with pytest.raises(NotARecipientError):
        read_segment(info.path.read_bytes(), share=share, private_key=DEVICE_KEY, verify_key=None)
    for path in world.root.rglob("*"):
        assert not path.is_file() or b"plaintext" not in path.read_bytes()
    for value in vars(store).values():  # nor in RAM, once it is closed
        assert not hasattr(value, "_aead")
    assert not store._open


def test_a_destroyed_share_closes_it_for_good(world) -> None:
    store = world.store()
    store.append(READS, b"gone", at_us=T0)
    store.append(READS, b"kept", at_us=T0 + EPOCH_US)
    store.close()
    ring = world.keyring()
    ring.destroy([HOUR])
    gone, kept = store.segments()
    assert world.open(kept).records == [b"kept"]
    left = [ring.peek(epoch) for epoch in ring.epochs()]
    assert ring.peek(HOUR) is None
    for share in (*left, bytes(32)):  # the agency's key, and every share that is left
        with pytest.raises(WrongShareError):
            read_segment(gone.path.read_bytes(), share=share, private_key=AGENCY_KEY, verify_key=None)


def test_each_recipient_opens_it(world) -> None:
    recipients = [Recipient.of(key.public_key()) for key in (AGENCY_KEY, OTHER_KEY)]
    ids = {"device_id": "pole-7", "boot_id": "b"}
    store = Store.open(
        world.store_root, keyring=world.keyring(), recipients=recipients, signer=DEVICE_KEY, **ids
    )
    store.append(READS, b"x", at_us=T0)
    store.close()
    data = store.segments()[0].path.read_bytes()
    share = world.keyring().peek(HOUR)
    for key in (AGENCY_KEY, OTHER_KEY):
        assert read_segment(data, share=share, private_key=key, verify_key=None).records == [b"x"]
    for bad in ([], recipients * 9):
        with pytest.raises(BadRecipientError):
            Store.open(world.store_root, keyring=world.keyring(), recipients=bad, signer=DEVICE_KEY, **ids)


def test_roll_closes_past_hours_only(world) -> None:
    store = world.store()
    store.append(READS, b"then", at_us=T0)
    store.append(READS, b"now", at_us=T0 + EPOCH_US)
    store.roll(T0 + EPOCH_US)
    assert [(info.epoch, info.closed) for info in store.segments()] == [(HOUR, True), (HOUR + 1, False)]
    store.append(READS, b"late", at_us=T0)  # a segment of its own
    store.close_epochs([HOUR])
    assert [(info.epoch, info.closed) for info in store.segments()] == [
        *[(HOUR, True)] * 2,
        (HOUR + 1, False),
    ]


def test_commit_syncs_each_grown_segment_once(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"x", at_us=T0)
    store.append(IMAGES, b"x", at_us=T0)
    files.calls.clear()
    store.commit()
    assert files.calls == ["write", "write", "fsync", "fsync"]
    store.append(READS, b"x", at_us=T0)
    store.append(READS, b"x", at_us=T0)
    files.calls.clear()
    store.commit()
    store.commit()
    assert files.calls == ["write", "fsync"]


def test_limits(world) -> None:
    limits = StoreLimits(
        max_record_bytes=100, max_segment_bytes=1500, max_uncommitted_bytes=350, write_buffer_bytes=130
    )
    files = Scripted()
    store = world.store(limits=limits, files=files)
    with pytest.raises(TooLargeError):
        store.append(READS, bytes(101), at_us=T0)
    for at_us in (-1, 1 << 63):
        with pytest.raises(BadTimeError):
            store.append(READS, b"", at_us=at_us)
    files.calls.clear()
    for i in range(12):
        store.append(READS, bytes([i]) * 100, at_us=T0)
    assert files.calls.count("fsync") > 3  # commits by itself
    store.close()
    infos = store.segments()
    assert len(infos) > 1
    assert all(info.size < 1500 + 400 for info in infos)  # and a footer
    assert [r for info in infos for r in world.open(info).records] == [bytes([i]) * 100 for i in range(12)]
    assert verify_store(world.store_root, verify_key=DEVICE_KEY.public_key()).ok


def test_no_more_than_the_limit_of_segments_is_open(world) -> None:
    store = world.store(limits=StoreLimits(max_open_segments=2))
    for hour in range(5):
        store.append(READS, b"x", at_us=T0 + hour * EPOCH_US)
    assert [info.closed for info in store.segments()] == [True, True, True, False, False]


@pytest.mark.parametrize(("device_id", "boot_id"), [("Pole", "b"), ("a", ""), ("a", "../b"), ("a" * 65, "b")])
def test_ids_are_plain(world, device_id, boot_id) -> None:
    with pytest.raises(BadIdError):
        Store.open(
            world.store_root,
            keyring=world.keyring(),
            recipients=[Recipient.of(AGENCY_KEY.public_key())],
            signer=DEVICE_KEY,
            device_id=device_id,
            boot_id=boot_id,
        )


def test_one_writer_at_a_time(world) -> None:
    store = world.store()
    with pytest.raises(StoreBusyError):
        world.store()
    store.close()
    store.close()
    world.store()
    for call in (lambda: store.append(READS, b"", at_us=T0), store.commit):
        with pytest.raises(StoreClosedError):
            call()


def test_a_full_disk_loses_nothing(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"before", at_us=T0)
    store.commit()
    store.append(READS, b"during", at_us=T0)
    files.plan = {len(files.calls): errno.ENOSPC}
    with pytest.raises(DiskFullError) as caught:
        store.commit()
    assert caught.value.segments == ()
    store.append(READS, b"after", at_us=T0)
    store.commit()
    store.close()
    assert [world.open(info).records for info in store.segments()] == [[b"before", b"during", b"after"]]


def test_a_full_disk_while_closing_keeps_the_segment_open(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"kept", at_us=T0)
    files.plan = {len(files.calls): errno.ENOSPC}
    with pytest.raises(DiskFullError):
        store.roll(T0 + EPOCH_US)
    store.roll(T0 + EPOCH_US)
    assert [world.open(info).records for info in store.segments()] == [[b"kept"]]


def test_a_footer_that_does_not_fit_leaves_the_records(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"kept", at_us=T0)
    files.plan = {len(files.calls) + 2: errno.ENOSPC}
    with pytest.raises(DiskFullError):
        store.close()
    content = world.open(store.segments()[0])
    assert (content.records, content.closed, content.complete) == ([b"kept"], False, True)


def test_closing_goes_on_past_an_error(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"first", at_us=T0)
    store.append(READS, b"second", at_us=T0 + EPOCH_US)
    files.plan = {len(files.calls): errno.EIO}
    with pytest.raises(WriteFailedError):
        store.close()
    assert [info.closed for info in store.segments()] == [False, True]


@pytest.mark.parametrize(("step", "name"), [(0, "write"), (1, "fsync")])
def test_after_a_disk_error_it_goes_on_in_a_new_segment(world, step, name) -> None:
    files = Scripted()
    store = world.store(files=files)
    store.append(READS, b"acknowledged", at_us=T0)
    store.commit()
    store.append(READS, b"in doubt", at_us=T0)
    files.plan = {len(files.calls) + step: errno.EIO}
    with pytest.raises(WriteFailedError) as caught:
        store.commit()
    assert files.calls[-1] == name
    assert caught.value.segments == (store.segments()[0].segment_id,)
    store.append(READS, b"later", at_us=T0)
    store.close()
    by_seq = sorted(store.segments(), key=lambda info: world.open(info).header.fields.seq)
    assert [world.open(info).records[0] for info in by_seq] == [b"acknowledged", b"later"]


def test_a_segment_that_cannot_be_made_leaves_no_trace(world) -> None:
    files = Scripted()
    store = world.store(files=files)
    files.plan = {len(files.calls) + 1: errno.ENOSPC}
    with pytest.raises(DiskFullError):
        store.append(READS, b"x", at_us=T0)
    assert list((world.store_root / "reads").iterdir()) == []
    store.append(READS, b"x", at_us=T0)
    store.close()
    assert verify_store(world.store_root).ok


def fill(world: World, files: Scripted, acked: list[bytes]) -> None:
    """Append and commit until the files are killed; `acked` gets what was acknowledged."""
    store = world.store(files=files)
    for i in range(4):
        payload = b"record %d" % i
        store.append(READS, payload, at_us=T0)
        store.commit()
        acked.append(payload)
    store.close()


def count_steps(tmp_path) -> int:
    files = Scripted()
    fill(World(tmp_path / "dry"), files, [])
    return len(files.calls)


def test_killed_at_each_step_it_holds_what_was_acknowledged(tmp_path) -> None:
    steps = count_steps(tmp_path)
    assert steps > 12
    for step in range(steps):
        world = World(tmp_path / str(step))
        files = Scripted({step: "kill"})
        acked: list[bytes] = []
        with pytest.raises(Killed):
            fill(world, files, acked)
        world.close()
        store = world.store()
        store.append(READS, b"next", at_us=T0)
        store.close()
        records = [r for info in store.segments() for r in world.open(info).records]
        assert [r for r in records if r != b"next"][: len(acked)] == acked
        assert b"next" in records
        assert all(world.open(info).complete for info in store.segments())
        assert verify_store(world.store_root, verify_key=DEVICE_KEY.public_key()).ok


@pytest.mark.parametrize("cut", [1, 8, 9, 30, 44, 45, 46])
def test_a_torn_tail_is_cut_and_a_closed_segment_is_not_touched(world, cut) -> None:
    store = world.store()
    store.append(IMAGES, b"closed", at_us=T0 - EPOCH_US)
    store.roll(T0)
    for i in range(3):
        store.append(READS, b"read number %07d" % i, at_us=T0)  # frames of 44 bytes
    store.commit()
    world.close()
    closed, torn = store.segments()
    before = closed.path.read_bytes()
    data = torn.path.read_bytes()
    torn.path.write_bytes(data[:-cut])
    again = world.store()
    assert again.recovered == (() if cut == 44 else (torn.path,))
    content = world.open(again.segments()[1])
    assert content.records == [b"read number %07d" % i for i in range(2 if cut <= 44 else 1)]
    assert (content.complete, content.closed, content.problems) == (True, False, ())
    assert closed.path.read_bytes() == before


@pytest.mark.parametrize("tail", [b"\0" * 500, b"R" + b"\xff" * 100, b"R\0\0\0\x20" + bytes(40)])
def test_a_tail_of_rubbish_is_cut(world, tail) -> None:
    store = world.store()
    store.append(READS, b"good", at_us=T0)
    store.commit()
    world.close()
    path = store.segments()[0].path
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert world.store().recovered == (path,)
    assert path.read_bytes() == whole


def test_damage_deeper_than_a_tail_is_left_alone(world) -> None:
    limits = StoreLimits(max_uncommitted_bytes=200)
    store = world.store(limits=limits)
    for _ in range(10):
        store.append(READS, bytes(50), at_us=T0)
    store.commit()
    world.close()
    path = store.segments()[0].path
    data = bytearray(path.read_bytes())
    data[-500] ^= 0xFF
    at = len(data) - 75 * 7
    data[at] = 0
    path.write_bytes(data)
    assert world.store(limits=limits).recovered == ()
    assert path.read_bytes() == data
    assert not verify_store(world.store_root).ok


def test_listing_skips_what_is_no_segment(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.close()
    (world.store_root / "reads" / "empty.wseg").write_bytes(b"")
    (world.store_root / "reads" / "rubbish.wseg").write_bytes(b"WAYSEGM\n" + bytes(100))
    (world.store_root / "reads" / ".x.tmp").write_bytes(b"")
    assert len(list_segments(world.store_root)) == 1
    assert list_segments(world.root / "nowhere") == []


def test_several_threads_share_a_store(world) -> None:
    store = world.store(limits=StoreLimits(write_buffer_bytes=500, max_segment_bytes=20_000))

    def work(name: int) -> None:
        for i in range(100):
            store.append(READS, b"%d-%d" % (name, i), at_us=T0 + i % 2 * EPOCH_US)
            if i % 10 == name:
                store.commit()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    records = [r for info in store.segments() for r in world.open(info).records]
    assert sorted(records) == sorted(b"%d-%d" % (name, i) for name in range(4) for i in range(100))


def test_segments_of_a_run_are_chained(world) -> None:
    store = world.store()
    for hour in range(3):
        store.append(READS, b"x", at_us=T0 + hour * EPOCH_US)
    store.close()
    headers = [world.open(info).header for info in store.segments()]
    assert [header.fields.seq for header in headers] == [0, 1, 2]
    assert [header.fields.prev for header in headers[1:]] == [header.digest.hex() for header in headers[:2]]


def test_a_foreign_signer_is_seen(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.close()
    assert not world.open(store.segments()[0]).header.signed_by(OTHER_KEY.public_key())
