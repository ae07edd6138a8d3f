# SPDX-License-Identifier: Apache-2.0
"""Deletion receipts of the devices: checked when they come, and the whole chain on demand, without the device."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from backoffice.db import deletion_receipts, insert_once
from backoffice.devices import all_devices, get_device
from backoffice.errors import ReceiptRefused
from backoffice.office import Office
from storage.errors import ReceiptInvalidError
from storage.receipts import Receipt, verify_receipts
from sync.certificates import certificate_key, load_certificate

MAX_NUMBER = 2**53 - 1  # what the database and every JSON reader keep exact


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What is proven for one device: receipts held, epochs erased, and what is wrong or missing."""

    device: str
    receipts: int
    epochs: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the chain is whole from its first receipt on."""
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
    return ChainReport(device_id, len(chain), len(set(found.epochs)), (*problems, *found.problems))


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
