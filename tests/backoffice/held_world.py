# SPDX-License-Identifier: Apache-2.0
"""What an office holds that its retention may delete."""

from __future__ import annotations

import time
from collections.abc import Callable

from office_world import Clock, MadeDevice, make_hit, seal_hit

from backoffice import keys
from backoffice.hits import HitStore
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import Recipient, SegmentKind, epoch_of

DAY_US = 86_400_000_000


def pulled_segment(office: Office, device: MadeDevice, at_us: int) -> None:
    """What a pull leaves at the office, without the wire."""
    root = office.layout.root.parent / f"device-{at_us}"
    keyring = Keyring.open(root / "keyring", FileRootOfTrust(root / "trust"))
    store = Store.open(
        root / "store",
        keyring=keyring,
        recipients=[Recipient.of(keys.load_purpose_public(office.layout, keys.READS))],
        signer=device.key,
        device_id=device.device_id,
        boot_id="boot-1",
    )
    store.append(SegmentKind.READS, b"{}", at_us=at_us)
    store.commit()
    store.close()
    target = office.layout.segments / device.device_id
    target.mkdir(exist_ok=True)
    for info in store.segments():
        (target / info.path.name).write_bytes(info.path.read_bytes())
    share = keyring.peek(epoch_of(at_us))
    assert share
    open_keyring(office).import_share(device.device_id, epoch_of(at_us), share)


def put_hit(office: Office, clock: Clock, read_id: str, *, raised_us: int, received_us: int) -> str:
    """A hit that came when the office's clock said `received_us`."""
    hit, now = make_hit(read_id=read_id, at_us=raised_us), clock.now_us
    clock.now_us = received_us
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    clock.now_us = now
    return hit.hit_id


def wait_until(true: Callable[[], bool], limit_s: float = 10.0) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
