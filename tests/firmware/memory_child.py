# SPDX-License-Identifier: Apache-2.0
"""A process that seals reads, pictures and a hit as the eye does, and then waits to be looked into.

It makes its texts itself, so that they come in by no other way, and prints keys only in hex.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from firmware.sealing import Vault
from storage import segment_writer
from storage.closed_memory import close_memory
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.spool import Spool
from storage.store import Store
from storage.types import Recipient, TimeEvidence
from sync.hotlists.entry import Category, ListEntry
from sync.schema import HitRecord, ImageKind, ImageRecord, MatchKind, MatchRecord, ReadRecord, StateAgreement

AT_US = 1_800_000_000_000_000
PASSES = 16
KEY = ec.generate_private_key(ec.SECP256R1())


def text_of(number: int) -> str:
    """A text of 8 characters that nothing else has."""
    return hashlib.sha256(b"text %d" % number).hexdigest()[:8].upper()


def picture_of(number: int) -> bytes:
    return hashlib.sha256(b"picture %d" % number).digest()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell_keys() -> None:
    """Print the keys of each segment as it is opened; nothing here keeps them."""
    derive = segment_writer.derive

    def told(secret: bytes, share: bytes, info: bytes) -> tuple[bytes, bytes]:
        key, commitment = derive(secret, share, info)
        for name, value in (("secret", secret), ("key", key)):
            say(f"{name} {value.hex()}")
        return key, commitment

    segment_writer.derive = told


def read_of(number: int) -> ReadRecord:
    return ReadRecord(
        read_id=f"r-{number}",
        device_id="pole-7",
        camera="camera-1",
        captured_us=AT_US + number,
        time_uncertainty_us=1000,
        text=text_of(number),
        confidence=0.9,
        frames_seen=3,
        frames_agreed=3,
        box=(1.0, 2.0, 100.0, 50.0),
        corners=((1.0, 2.0), (101.0, 2.0), (101.0, 52.0), (1.0, 52.0)),
        width_px=100.0,
        ir=False,
    )


def hit_of(read: ReadRecord) -> HitRecord:
    entry = ListEntry("e-1", read.text, "IL", Category.STOLEN_VEHICLE)
    match = MatchRecord(
        kind=MatchKind.EXACT,
        explanation="the same characters",
        state_agreement=StateAgreement.UNKNOWN,
        list_id="leads",
        list_version=1,
        list_age_s=1,
        stale=False,
    )
    return HitRecord(
        hit_id=f"h-{read.read_id}",
        read=read,
        match=match,
        entry=entry,
        crop_jpeg=b"\xff\xd8" + picture_of(0) * 200,
        raised_us=AT_US,
        probability=0.5,
    )


class NothingExpires:
    def run(self, now: TimeEvidence) -> Sequence[object]:
        return ()


def make_vault(root: Path) -> Vault:
    keyring = Keyring.open(root / "keyring", FileRootOfTrust(root / "trust"))
    agency = [Recipient.of(ec.generate_private_key(ec.SECP256R1()).public_key())]
    store = Store.open(
        root / "store", keyring=keyring, recipients=agency, signer=KEY, device_id="pole-7", boot_id="boot-1"
    )
    return Vault(store, Spool.open(root / "spool"), NothingExpires(), agency)


def one_pass(vault: Vault, number: int) -> None:
    read = read_of(number)
    if number % 10 == 0:
        vault.raise_hit(hit_of(read))
    data = b"\xff\xd8" + picture_of(number) * (20 if number % 2 else 2000)
    image = ImageRecord(read_id=read.read_id, kind=ImageKind.SCENE, media_type="image/jpeg", data=data)
    vault.keep_images([image], read.captured_us)
    vault.keep_read(read)


def waits(stage: str) -> None:
    gc.collect()
    say(stage)
    sys.stdin.readline()


def main() -> None:
    tell_keys()
    say(f"memory {close_memory()}")
    vault = make_vault(Path(sys.argv[1]))
    for number in range(PASSES):
        one_pass(vault, number)
    vault.commit()
    waits("open")
    vault.close()
    waits("closed")


if __name__ == "__main__":
    main()
