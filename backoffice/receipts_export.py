# SPDX-License-Identifier: Apache-2.0
"""A device's chain of deletion receipts as a folder that anybody checks, with or without this software."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backoffice.devices import get_device
from backoffice.errors import BadRequest
from backoffice.known_epochs import due_epochs
from backoffice.office import Office
from backoffice.receipts import ChainReport, no_receipt, stored
from storage.atomic import write_atomic
from storage.layout import RECEIPTS_FILE
from storage.offline import CHECKER
from storage.receipts import GENESIS, Receipt, check_receipts
from storage.types import EpochId
from sync.certificates import certificate_key, fingerprint, load_certificate, load_public_key
from sync.schema import canonical_json

ABOUT = "export.json"
CERTIFICATE = "device.pem"
MAX_ABOUT_BYTES = 4 << 20
MAX_PEM_BYTES = 64 << 10
README = """Deletion receipts of the device {device} of {agency}.

{receipts}   one signed receipt a line, each bound to the one before: which hour was erased, when, under which policy,
                 and the hash of each segment that was in it.
{certificate}       the device's certificate; its key signed the receipts.
{about}      how many receipts the agency had at the time of this export, and every hour of the device that is past
                 its retention and so must have a receipt.
{checker}  checks the receipts with Python 3.11 and the package `cryptography`, and nothing of ours:

    python {checker} receipts {receipts} --key {certificate}

or, with our software:  wayside-office verify-receipts .

Both print the SHA-256 of the key. Compare it with the one that the agency told you by another way: whoever writes a
folder like this anew can put a key of their own in it. Receipts cut off the end show against the number in {about}
(which is the agency's word), and against the device's own audit log: --audit audit.jsonl.
"""


class About(BaseModel):
    """What the agency says of an export; not signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: int = 1
    agency: str = Field(max_length=120)
    device: str = Field(max_length=64)
    exported_us: int = Field(ge=0)
    receipts: int = Field(ge=0)
    head: str  # hash of the last receipt, which the next one would name
    due_epochs: tuple[EpochId, ...]  # hours of the device that should have a receipt by then


def export(office: Office, device_id: str, out: Path) -> About:
    """Write a device's chain to a folder. Raises NotFound, BadRequest when it is not empty, OSError."""
    device = get_device(office, device_id)
    if out.exists() and any(out.iterdir()):
        raise BadRequest(f"{out} is not empty: give a new folder")
    lines = stored(office, device_id)
    about = About(
        agency=office.settings.agency,
        device=device_id,
        exported_us=office.clock(),
        receipts=len(lines),
        head=Receipt.decode(lines[-1].encode()).body.hash if lines else GENESIS,
        due_epochs=tuple(sorted(due_epochs(office, device_id))),
    )
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = {"receipts": RECEIPTS_FILE, "certificate": CERTIFICATE, "about": ABOUT, "checker": CHECKER.name}
    readme = README.format(device=device_id, agency=office.settings.agency, **names)
    write_atomic(out / RECEIPTS_FILE, "".join(f"{line}\n" for line in lines).encode())
    write_atomic(out / CERTIFICATE, device.cert_pem.encode())
    write_atomic(out / ABOUT, canonical_json(about.model_dump(mode="json")) + b"\n")
    write_atomic(out / CHECKER.name, CHECKER.read_bytes())
    write_atomic(out / "README.txt", readme.encode())
    return about


def check(path: Path, key_file: Path | None, audit: Path | None) -> tuple[ChainReport, str]:
    """Check an exported folder, or a bare file of receipts, offline: (report, SHA-256 of the key used).

    Raises BadRequest when there is nothing to check or to check it with, OSError.
    """
    chain = path / RECEIPTS_FILE if path.is_dir() else path
    if not chain.is_file():
        raise BadRequest(f"{chain} is not there: name an exported folder, or a file of receipts")
    key = _key(key_file or chain.with_name(CERTIFICATE))
    about = _about(path / ABOUT) if path.is_dir() else None
    found = check_receipts(chain, key, audit=audit)
    problems, missing = list(found.problems), list[EpochId]()
    if about is not None:
        if found.receipts + found.damaged != about.receipts:
            problems.append(f"{about.receipts} receipts were exported, here are {found.receipts}")
        missing = sorted(set(about.due_epochs) - set(found.epochs))
        problems += no_receipt(missing)
    device = about.device if about else chain.stem
    report = ChainReport(device, found.receipts, len(set(found.epochs)), tuple(problems), tuple(missing))
    return report, fingerprint(key)


def _key(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        pem = path.read_bytes()[:MAX_PEM_BYTES].decode()
        return certificate_key(load_certificate(pem)) if "CERTIFICATE" in pem else load_public_key(pem)
    except FileNotFoundError as error:
        raise BadRequest(f"{path} is not there: give the device's key or certificate with --key") from error
    except ValueError as error:
        raise BadRequest(f"{path} is no P-256 public key or certificate in PEM") from error


def _about(path: Path) -> About | None:
    try:
        with path.open("rb") as file:
            return About.model_validate_json(file.read(MAX_ABOUT_BYTES))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadRequest(f"{path} is damaged: get the export again, or name the file of receipts") from error
