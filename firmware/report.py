# SPDX-License-Identifier: Apache-2.0
"""What `wayside status` and `wayside verify` tell a technician."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from firmware.errors import FirmwareError
from firmware.status import SERVICES, ask
from provisioning.errors import IdentityError
from provisioning.identity import Identity
from storage.audit import verify_audit
from storage.fsck import verify_store
from storage.layout import RECEIPTS_FILE, DataLayout
from storage.receipts import verify_receipts
from storage.retention import read_receipts


def statuses(data_dir: Path) -> dict[str, dict[str, object] | None]:
    """What each service says; None for one that doesn't answer."""
    return {name: ask(data_dir, name) for name in SERVICES}


def verify_store_report(path: Path) -> tuple[dict[str, object], bool]:
    """The report as plain values, and whether all is sound; `path` is a data folder or its store.

    Checks the segments (with signatures, where the identity is there), the chain of deletion receipts and the
    audit log. Needs no key that opens anything.
    """
    layout = DataLayout(path if (path / "store").is_dir() else path.parent)
    if not layout.store.is_dir():
        raise FirmwareError(f"{path}: no sealed store here; name the device's data folder")
    key = _device_key(layout)
    receipts = read_receipts(layout.retention / RECEIPTS_FILE)
    erased = {segment.segment_id for receipt in receipts for segment in receipt.body.segments}
    found = verify_store(layout.store, verify_key=key, erased=erased)
    values = asdict(found)
    problems = [{name: str(value) for name, value in problem.items()} for problem in values["problems"]]
    if key is not None and receipts:
        problems += _said(layout.retention, verify_receipts(receipts, key).problems)
    if layout.audit.exists():
        problems += _said(layout.audit, verify_audit(layout.audit, key).problems)
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    signatures = "checked" if key is not None else "not checked: the device's identity is not here"
    report = {**plain, "receipts": len(receipts), "signatures": signatures, "problems": problems}
    return report, not problems


def _device_key(layout: DataLayout) -> EllipticCurvePublicKey | None:
    try:
        return Identity.load(layout.identity).key.public_key()
    except IdentityError:
        return None


def _said(path: Path, problems: Iterable[str]) -> list[dict[str, str]]:
    what_to_do = "keep a copy of the folder and tell the agency's administrator"
    return [{"path": str(path), "what": problem, "do": what_to_do} for problem in problems]
