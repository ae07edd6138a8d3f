# SPDX-License-Identifier: Apache-2.0
"""`wayside verify`: everything in a device's data folder, checked without any key that opens a read.

Each part is checked by its owner: segments and their chains, keyring, receipts, audit log, outboxes, small states,
names and modes. It reads only, and whatever it finds is a problem of the report, never an exception.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from firmware.errors import FirmwareError
from firmware.verify_files import verify_files
from provisioning.errors import IdentityError
from provisioning.identity import Identity
from storage.audit import AuditReport, verify_audit
from storage.errors import StorageError
from storage.fsck import Problem, Severity, StoreScan, scan_store
from storage.giving_way import gave_way
from storage.keyring_check import REWRITE_S, read_packed, verify_keyring
from storage.layout import RECEIPTS_FILE, RETENTION_FILE, SEGMENT_SUFFIX, DataLayout
from storage.receipts import ReceiptsReport, check_receipts
from storage.recovery import segment_names
from storage.retention_files import named_files
from storage.retention_policies import load_schedule, verify_policies
from storage.retention_schedule import RetentionPolicy
from storage.retention_state import load_state
from storage.root_of_trust import FileRootOfTrust, RootOfTrust
from storage.spool_check import verify_spool
from storage.store_lock import is_written
from storage.types import SegmentKind
from sync.certificates import load_public_key
from sync.errors import ListError
from sync.retention_document import open_retention

ENROL = "put the right disk back, or enrol the device anew; what it stored stays signed by the old identity"
KEEP_COPY = "keep a copy of the folder and tell the agency's administrator"
MAX_SHOWN = 40  # kinds of problems on the terminal; --json has them all
PATHS_SHOWN = 3  # of one kind


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What `verify_device` found: figures by name, and the problems, the worst first."""

    root: Path
    figures: dict[str, int | str]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        problems = [
            {"path": str(p.path), "what": p.what, "do": p.do, "severity": p.severity.value}
            for p in self.problems
        ]
        return {**self.figures, "ok": self.ok, "problems": problems}

    def lines(self) -> list[str]:
        """What a technician reads on the terminal; problems of a kind together."""
        figures = [f"{name.replace('_', ' ')}: {value}" for name, value in self.figures.items()]
        return [f"checked: {shown(self.root)}", *figures, *self._problem_lines()]

    def _problem_lines(self) -> list[str]:
        if self.ok:
            return ["no problems"]
        kinds: dict[tuple[Severity, str, str], list[Path]] = {}
        for problem in self.problems:
            kinds.setdefault((problem.severity, problem.what, problem.do), []).append(problem.path)
        serious = sum(problem.severity is Severity.ERROR for problem in self.problems)
        lines = ["", f"{len(self.problems)} problems, {serious} of them serious"]
        for (severity, what, do), paths in list(kinds.items())[:MAX_SHOWN]:
            lines += ["", f"{severity.value.upper()} {what}"]
            lines += [f"  in {shown(self._short(path))}" for path in paths[:PATHS_SHOWN]]
            lines += [f"  and {len(paths) - PATHS_SHOWN} more"] if len(paths) > PATHS_SHOWN else []
            lines.append(f"  do: {do}")
        if len(kinds) > MAX_SHOWN:
            lines += ["", f"and {len(kinds) - MAX_SHOWN} kinds of problems more: --json has them all"]
        return lines

    def _short(self, path: Path) -> Path:
        inside = path != self.root and path.is_relative_to(self.root)
        return path.relative_to(self.root) if inside else path


def shown(path: Path) -> str:
    """A path that may be printed: whatever a file name holds, it moves no cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(path))


def layout_of(path: Path) -> DataLayout:
    """The data folder that is meant by `path`: itself, or the store in it. Raises FirmwareError."""
    layout = DataLayout(path if (path / "store").is_dir() else path.parent)
    if not any((layout.store / kind.value).is_dir() for kind in SegmentKind):
        raise FirmwareError(f"{path}: no sealed store here; name the device's data folder")
    return layout


def _not_removed(layout: DataLayout, erased: Collection[str]) -> list[Problem]:
    """Segments that a receipt names and the disk still has."""
    return [
        Problem(
            layout.store / kind.value / name,
            "its hour is deleted and nothing opens it, but the disk did not remove it",
            "check the disk; the eye tries again at each look",
            Severity.WARNING,
        )
        for _, kind, name in named_files(layout.store)
        if name.removesuffix(SEGMENT_SUFFIX) in erased
    ]


def verify_device(path: Path) -> DeviceReport:
    """Check a device's data folder, or the one that the store at `path` is in; raises FirmwareError for none."""
    layout = layout_of(path)
    identity, identity_problems = _identity(layout)
    key = identity.key.public_key() if identity is not None else None
    running = is_written(layout.store)
    scan, problems = _scan(layout, key, running=running)
    planned = _planned(layout) if running else frozenset()
    receipts, receipt_problems = _receipts(
        layout, key
    )  # after the scan: they tell what was deleted meanwhile
    erased = receipts.segments if receipts else frozenset()
    store = scan.report(planned | erased | gave_way(layout.audit))
    audit, audit_problems = _audit(layout, key, receipts)
    hits, hit_problems = verify_spool(layout.hits_spool)
    waiting, spool_problems = verify_spool(layout.receipts_spool)
    problems += (
        list(store.problems)
        + _not_removed(layout, erased)
        + identity_problems
        + receipt_problems
        + audit_problems
        + _keyring(layout, running=running)
        + _policies(layout, identity)
        + hit_problems
        + spool_problems
    )
    problems += verify_files(layout, growing=running)
    figures: dict[str, int | str] = {
        "segments": store.segments,
        "unclosed": store.unclosed,
        "records": store.records,
        "bytes": store.size,
        "receipts": receipts.receipts if receipts else 0,
        "audit_entries": audit.entries if audit else 0,
        "hits_waiting": hits,
        "receipts_waiting": waiting,
        "signatures": "checked" if key is not None else "not checked: the device's identity is not here",
        "eye": "writes here now" if running else "does not write here now",
    }
    order = list(Severity)
    return DeviceReport(
        layout.root, figures, tuple(sorted(problems, key=lambda problem: order.index(problem.severity)))
    )


def _identity(layout: DataLayout) -> tuple[Identity | None, list[Problem]]:
    """The device's identity; a copy of the data alone has none, which is no problem."""
    if not layout.identity.exists():
        return None, []
    try:
        return Identity.load(layout.identity), []
    except (IdentityError, OSError) as error:
        return None, [Problem(layout.identity, f"cannot be used: {type(error).__name__}", ENROL)]


def _receipts(
    layout: DataLayout, key: EllipticCurvePublicKey | None
) -> tuple[ReceiptsReport | None, list[Problem]]:
    path = layout.retention / RECEIPTS_FILE
    try:
        report = check_receipts(path, key, audit=layout.audit if layout.audit.is_file() else None)
    except StorageError as error:
        return None, [Problem(path, str(error), "check the disk; fetch the chain from the office")]
    return report, _said(path, report.problems)


def _scan(
    layout: DataLayout, key: EllipticCurvePublicKey | None, *, running: bool
) -> tuple[StoreScan, list[Problem]]:
    try:
        return scan_store(layout.store, verify_key=key, growing=running), []
    except StorageError as error:
        return StoreScan(key), [Problem(layout.store, str(error), KEEP_COPY)]


def _planned(layout: DataLayout) -> frozenset[str]:
    """Segments that the running eye deletes just now; their receipts come when they are gone."""
    try:
        plan = load_state(layout.retention / RETENTION_FILE).plan
    except (StorageError, OSError):
        return frozenset()  # told by the check of the file
    return frozenset(segment.segment_id for body in plan for segment in body.segments)


def _audit(
    layout: DataLayout, key: EllipticCurvePublicKey | None, receipts: ReceiptsReport | None
) -> tuple[AuditReport | None, list[Problem]]:
    if not layout.audit.exists() and not (receipts and receipts.receipts):
        return None, []  # a device that has not done anything yet
    try:
        report = verify_audit(layout.audit, key)
    except StorageError as error:
        return None, [Problem(layout.audit, str(error), KEEP_COPY)]
    return report, _said(layout.audit, report.problems)


def _keyring(layout: DataLayout, *, running: bool) -> list[Problem]:
    found = _keyring_now(layout)
    if found and running:  # perhaps the eye rewrote it or deleted in this moment
        time.sleep(REWRITE_S)
        found = _keyring_now(layout)
    return found


def _keyring_now(layout: DataLayout) -> list[Problem]:
    try:
        names = [name for kind in SegmentKind for name in segment_names(layout.store, kind)]
    except OSError:
        names = []  # told by the store's check
    held = {
        int(epoch) for epoch, dash, _ in (name.partition("-") for name in names) if dash and epoch.isdigit()
    }
    found = verify_keyring(layout.keyring, _root(layout), held)
    return [Problem(layout.keyring, what, do or KEEP_COPY) for what, do in map(_split, found)]


def _root(layout: DataLayout) -> RootOfTrust | None:
    """The file root, which lies in the folder too; a TPM's content is for the device alone to check."""
    try:
        packed = read_packed(layout.keyring)
    except (StorageError, OSError):
        return None
    named_file = packed is not None and packed.root == FileRootOfTrust.name
    return FileRootOfTrust(layout.trust) if named_file and layout.trust.is_dir() else None


def _policies(layout: DataLayout, identity: Identity | None) -> list[Problem]:
    """Retention policies that the agency did not sign; without its keys nothing is known. Damage is told elsewhere."""
    if identity is None or identity.bundle is None:
        return []
    keys, path = [load_public_key(pem) for pem in identity.bundle.list_keys], layout.policies

    def policy_of(signed: bytes) -> RetentionPolicy | None:
        try:
            return open_retention(signed, keys).policy
        except ListError:
            return None

    try:
        load_schedule(path)
        found = verify_policies(path, policy_of)
    except (StorageError, OSError):
        return []
    told = (_split(problem.removeprefix(f"{path}: ")) for problem in found)
    return [Problem(path, what, do) for what, do in told]


def _split(problem: str) -> tuple[str, str]:
    what, _, do = problem.partition(": ")
    return what, do


def _said(path: Path, problems: Iterable[str]) -> list[Problem]:
    return [Problem(path, problem, KEEP_COPY) for problem in problems]
