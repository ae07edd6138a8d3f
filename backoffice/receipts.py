# SPDX-License-Identifier: Apache-2.0
"""Deletion receipts of the devices: checked when they come, and the whole chain on demand, without the device."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from backoffice.db import deletion_receipts, insert_once
from backoffice.devices import all_devices, get_device
from backoffice.errors import ReceiptRefused
from backoffice.known_epochs import due_epochs, spans
from backoffice.office import Office
from storage.errors import ReceiptInvalidError
from storage.receipts import Receipt, verify_receipts
from storage.types import EpochId
from sync.certificates import certificate_key, load_certificate

MAX_NUMBER = 2**53 - 1  # what the database and every JSON reader keep exact


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What is proven for one device: receipts held, epochs erased, and what is wrong or missing.

    `missing_epochs` are hours that the device is known to have had, past their retention, without a receipt.
    """

    device: str
    receipts: int
    epochs: int
    problems: tuple[str, ...]
    missing_epochs: tuple[EpochId, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the chain is whole from its first receipt on, and has one for each hour that is due."""
        return not self.problems


def record(office: Office, device_id: str, receipt_id: str, body: bytes) -> bool:
    """Keep a receipt once; True when it is new. ReceiptRefused unless this device signed it."""
    receipt = _checked(body, device_id, device_key(office, device_id))
    text = body.decode()
    row = {
        "device_id": device_id,
        "receipt_id": receipt_id,
        "n": receipt.body.n,
        "received_us": office.clock(),
        "body": text,
    }
    if insert_once(office.engine, deletion_receipts, row):
        return True
    if _body(office, device_id, receipt_id) != text:
        raise ReceiptRefused("another receipt of this device has this id")
    return False


def stored(office: Office, device_id: str) -> list[str]:
    """The JSON of every receipt of a device, by its number."""
    mine = select(deletion_receipts.c.body).where(deletion_receipts.c.device_id == device_id)
    ordered = mine.order_by(deletion_receipts.c.n, deletion_receipts.c.receipt_id)
    with office.engine.connect() as connection:
        return [str(body) for body in connection.execute(ordered).scalars()]


def erased_epochs(office: Office, device_id: str) -> set[EpochId]:
    """Hours that a device says are gone there; each receipt was checked when it came. A damaged row says nothing."""
    found: set[EpochId] = set()
    for text in stored(office, device_id):
        with contextlib.suppress(ReceiptInvalidError):
            found.add(Receipt.decode(text.encode()).body.epoch)
    return found


def verify(office: Office, device_id: str | None = None) -> list[ChainReport]:
    """Check the chain of one device, or of every device ever enrolled."""
    names = (
        [get_device(office, device_id).device_id] if device_id else [d.device_id for d in all_devices(office)]
    )
    return [_verify_one(office, name) for name in names]


def device_key(office: Office, device_id: str) -> ec.EllipticCurvePublicKey:
    """The key that the device was enrolled with."""
    return certificate_key(load_certificate(get_device(office, device_id).cert_pem))


def _verify_one(office: Office, device_id: str) -> ChainReport:
    chain: list[Receipt] = []
    problems: list[str] = []
    for number, text in enumerate(stored(office, device_id)):
        try:
            chain.append(Receipt.decode(text.encode()))
        except ReceiptInvalidError as error:
            problems.append(f"stored receipt {number}: {error}")
    problems += [f"receipt {r.body.n} names another device" for r in chain if r.body.device_id != device_id]
    found = verify_receipts(chain, device_key(office, device_id))
    missing = sorted(due_epochs(office, device_id) - set(found.epochs))
    told = (*problems, *found.problems, *no_receipt(missing))
    return ChainReport(device_id, len(chain), len(set(found.epochs)), told, tuple(missing))


def no_receipt(missing: Iterable[EpochId]) -> list[str]:
    """What is said of hours without a receipt, a run of them at a time."""
    return [
        f"no receipt for epoch {first} ({_hour(first)})"
        if first == last
        else f"no receipt for epochs {first} to {last} ({_hour(first)} to {_hour(last)})"
        for first, last in spans(missing)
    ]


def _hour(epoch: EpochId) -> str:
    start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=epoch)
    return f"{start:%Y-%m-%d %H} h UTC"


def _checked(body: bytes, device_id: str, key: ec.EllipticCurvePublicKey) -> Receipt:
    try:
        receipt = Receipt.decode(body)
    except ReceiptInvalidError as error:
        raise ReceiptRefused(str(error)) from error
    if receipt.body.device_id != device_id:
        raise ReceiptRefused("the receipt names another device than the certificate")
    if not 0 <= receipt.body.n <= MAX_NUMBER:
        raise ReceiptRefused(f"a receipt's number is 0 to {MAX_NUMBER}")
    alone = verify_receipts([receipt], key, first_n=receipt.body.n)
    if not alone.ok:
        raise ReceiptRefused(alone.problems[0])
    return receipt


def _body(office: Office, device_id: str, receipt_id: str) -> str:
    table = deletion_receipts.c
    query = select(table.body).where(table.device_id == device_id, table.receipt_id == receipt_id)
    with office.engine.connect() as connection:
        return str(connection.execute(query).scalar_one())
