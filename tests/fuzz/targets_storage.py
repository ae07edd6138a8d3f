# SPDX-License-Identifier: Apache-2.0
"""Targets in storage: keyring, envelopes, audit log, receipts, outbox, state, and the stand-alone checker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tinydb import TinyDB

from storage.audit import _read_head
from storage.audit_check import verify_audit
from storage.audit_entry import Checkpoint, entry_hash, entry_line, parse_entry
from storage.believed_time import Believed
from storage.box import Box
from storage.epoch_dates import EpochDates
from storage.errors import (
    AuditDamagedError,
    AuditError,
    BadMagicError,
    BadRecipientError,
    EntryTooLargeError,
    EnvelopeDamagedError,
    FormatError,
    KeyringDamagedError,
    NotARecipientError,
    ReceiptInvalidError,
    StateDamagedError,
    UnsupportedVersionError,
    WrongKeyError,
)
from storage.keyring_file import KeyringContent, pack, unpack
from storage.offline import verify_audit as offline
from storage.primitives import canonical_json, sign
from storage.receipt_file import read_receipts
from storage.receipts import ErasedSegment, Receipt, ReceiptBody, sign_receipt, verify_receipts
from storage.retention_state import RetentionState, load_state
from storage.root_tpm2 import TpmRootOfTrust, _failure
from storage.seal import open_sealed, recipient_ids, seal
from storage.spool import Spool
from storage.spool_file import parse_head, queued_us_of
from storage.state import AtomicStorage
from storage.types import Recipient
from storage.witness import Witness
from tests.fuzz.engine import Target
from tests.fuzz.held import AGENCY, DEVICE, certificate, held, of_file, public_pem
from tests.fuzz.sources import either, exactly, joined, json_like, mutated, noise, wrapped

KEK = hashlib.sha256(b"kek").digest()
GENESIS = "0" * 64
PUBLIC = DEVICE.public_key()


# --- keyring, box, envelope -------------------------------------------------------------------------------------

_CONTENT = KeyringContent(
    bytes(32), {"self": {491_000: bytes(32), 491_001: bytes(32)}, "pole-7": {5: bytes(32)}}
)
_KEYRING = pack(_CONTENT, kek=KEK, slot="slot-1", root="file", generation=3)
_KEYRING_BODY = AESGCM(KEK).decrypt((_P := unpack(_KEYRING)).sealed[:12], _P.sealed[12:], _P.prefix)
_KEYRING_HEAD = canonical_json({"generation": 3, "root": "file", "slot": "slot-1"})
_BOX = Box(KEK)
_BOXED = _BOX.seal(b'{"a":1}', b"aad")
_RECIPIENT = Recipient.of(AGENCY.public_key())
_SEALED = tuple(
    seal(recipients, text, info=b"info", aad=b"aad")
    for recipients, text in (([_RECIPIENT], b""), ([Recipient.of(PUBLIC), _RECIPIENT], b"text" * 9))
)


def _keyring_around(head: bytes, body: bytes) -> bytes:
    prefix = b"WAYKEYR\n\0\1" + len(head).to_bytes(4, "big") + head
    return prefix + bytes(12) + AESGCM(KEK).encrypt(bytes(12), body, prefix)


def _open_keyring(data: bytes) -> object:
    return unpack(data).open(KEK)


def _open_envelope(data: bytes) -> bool:
    recipient_ids(data)
    return open_sealed(data, AGENCY, info=b"info", aad=b"aad") is not None


_KEYRING_ERRORS = (BadMagicError, UnsupportedVersionError, KeyringDamagedError)
_TPM_SAID = (
    b"- 0x1500016\n- 0x1500017\n",
    b"0x1500016:\n  attributes:\n    value: 0x42072001\n  size: 46\n",
    b"ERROR: Esys_NV_Read(0x28B) - tpm:handle(2):the handle is not correct\n",
    b"ERROR:tcti:src/tss2-tcti/tcti-device.c\n",
)


def _tpm_tools(data: bytes) -> bool:
    """What the tools of the TPM print."""
    there = cast("TpmRootOfTrust", SimpleNamespace(_run=lambda *_: data, _range=range(0x1500016, 0x1500020)))
    found = TpmRootOfTrust._indices(there)
    TpmRootOfTrust._half_made(there, 0x1500016)
    _failure("tpm2_nvread", "device", data)
    return bool(found)


KEY_TARGETS = (
    Target(
        "tpm-tools", _tpm_tools, mutated(*_TPM_SAID, tokens=(b"0x", b"value: ", b"size: ", b"\n", b"tcti"))
    ),
    Target(
        "keyring",
        _open_keyring,
        either(
            mutated(_KEYRING),
            wrapped(json_like(_KEYRING_BODY), lambda body: _keyring_around(_KEYRING_HEAD, body)),
            wrapped(json_like(_KEYRING_HEAD), lambda head: _keyring_around(head, _KEYRING_BODY)),
        ),
        _KEYRING_ERRORS,
    ),
    Target(
        "box",
        lambda data: _BOX.open(data, b"aad") is not None,
        either(mutated(_BOXED), exactly(_BOXED)),
        (BadMagicError, EnvelopeDamagedError),
    ),
    Target(
        "envelope",
        _open_envelope,
        either(mutated(*_SEALED), exactly(*_SEALED)),
        (FormatError, NotARecipientError, WrongKeyError),
    ),
    Target(
        "recipient-pem",
        Recipient.from_pem,
        either(
            mutated(
                public_pem(AGENCY), public_pem(DEVICE), tokens=(b"-----", b"BEGIN", b"EC ", b"RSA ", b"\n")
            ),
            exactly(public_pem(AGENCY)),
        ),
        (BadRecipientError,),
    ),
)


# --- audit log --------------------------------------------------------------------------------------------------

_CHECKPOINT = Checkpoint(0, GENESIS, 5, "0" * 16, "00")
_ENTRY = entry_line(0, 1, "started", {"a": 1, "b": ["x"]}, GENESIS)
_MARK = entry_line(1, 2, "checkpoint", _CHECKPOINT.as_fields(), GENESIS)


def _entry_object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _linked(lines: bytes) -> bytes:
    """The lines as a chain: numbered, each bound to the one before, checkpoints signed."""
    out, prev = b"", GENESIS
    for n, raw in enumerate(lines.split(b"\n")):
        try:
            value = _entry_object(json.loads(raw))
            if value is None:
                line = raw
            else:
                value |= {"n": n, "prev": prev}
                if value.get("event") == "checkpoint" and isinstance(value.get("fields"), dict):
                    value["fields"] = _signed_mark(value, n, prev)
                line = canonical_json(value)
        except (ValueError, RecursionError):
            line = raw
        out, prev = out + line + b"\n", entry_hash(line)
    return out


def _signed_mark(value: dict[str, Any], n: int, prev: str) -> dict[str, Any]:
    fields = value["fields"] | {"n": n - 1, "head": prev, "at_us": value.get("at_us")}
    message = canonical_json({name: it for name, it in fields.items() if name != "signature"})
    return fields | {"signature": sign(DEVICE, "audit-checkpoint", message).hex()}


def _checkpoint(data: bytes) -> bool:
    """As it is told to the office, or kept elsewhere."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    Checkpoint.from_fields(fields).signed_by(PUBLIC)
    return True


_CHECKPOINT_JSON = canonical_json(_CHECKPOINT.as_fields())


def _witness(data: bytes) -> bool:
    """What an office says of its log's end, noted in the device's: both are told as they would be on disk."""
    Witness("office_log", _noted, Path("no such log")).saw("office", data.decode("latin-1"), 5)
    return True


def _noted(event: str, fields: Mapping[str, Any]) -> None:
    entry_line(0, 1, event, fields, GENESIS)


def _audit_head(data: bytes) -> bool:
    return _read_head(held(data), len(data)).n >= 0


def _log_accepted(data: bytes) -> bool:
    return verify_audit(held(data), PUBLIC, checkpoint=_CHECKPOINT).entries > 0


def _offline_accepted(data: bytes) -> bool:
    kept = {"at_us": 5, "head": GENESIS, "key_id": "0" * 16, "n": 0, "signature": "00"}
    return offline.check_audit(held(data), PUBLIC, kept).count > 0


_LINES = json_like(_ENTRY, _MARK, words=('"checkpoint"', '"epoch_erased"'))
_LOG = either(wrapped(joined(_LINES, 3, b"\n"), _linked), mutated(_linked(_ENTRY + b"\n" + _MARK)))
AUDIT_TARGETS = (
    Target("audit-entry", parse_entry, either(_LINES, mutated(_ENTRY, _MARK))),
    Target(
        "audit-checkpoint", _checkpoint, json_like(canonical_json(_CHECKPOINT.as_fields())), (AuditError,)
    ),
    Target(
        "witness",
        _witness,
        either(json_like(_CHECKPOINT_JSON), mutated(_CHECKPOINT_JSON)),
        (AuditError, EntryTooLargeError),
    ),
    Target("audit-head", _audit_head, _LOG, (AuditDamagedError,)),
    Target("audit-log", _log_accepted, _LOG, (AuditError,)),
    Target("offline-audit", _offline_accepted, _LOG),
    Target(
        "offline-checkpoint",
        of_file(offline.load_checkpoint),
        json_like(canonical_json(_CHECKPOINT.as_fields())),
        (offline.Unusable,),
    ),
    Target(
        "offline-key",
        of_file(offline.load_key),
        mutated(
            public_pem(DEVICE),
            certificate("pole-7", "device", DEVICE),
            tokens=(b"CERTIFICATE", b"PUBLIC KEY"),
        ),
        (offline.Unusable,),
    ),
)


# --- receipts and retention ---------------------------------------------------------------------------------------

RECEIPT_BODY = ReceiptBody(
    "pole-7", 0, GENESIS, 491_000, 7, ("gnss", "network"), 2_592_000, "1", "file", True,
    (ErasedSegment("491000-reads-0011-0", "reads", 900, 3, "0" * 64, True),),
)  # fmt: skip
_RECEIPT = sign_receipt(RECEIPT_BODY, DEVICE).encode()


def _resigned(raw: bytes) -> bytes:
    """A receipt whose body was changed, signed for that body."""
    try:
        body = json.loads(raw)
        signature = sign(DEVICE, "receipt", canonical_json(body))
        return canonical_json({"body": body, "key_id": "0" * 16, "signature": signature.hex()})
    except (ValueError, RecursionError):
        return raw


def _chain(data: bytes) -> bool:
    receipts = read_receipts(held(data))
    return verify_receipts(receipts, PUBLIC).receipts > 0


def _offline_chain(data: bytes) -> bool:
    return offline.check_receipts(held(data), PUBLIC, 0).count > 0


_BODIES = wrapped(json_like(RECEIPT_BODY.raw), _resigned)
_CHAIN = wrapped(
    joined(either(_BODIES, json_like(_RECEIPT), exactly(_RECEIPT)), 2, b"\n"), lambda lines: lines + b"\n"
)
_STATE = RetentionState(Believed(5, 7, 5), EpochDates({491_000: 9}, {}), (RECEIPT_BODY,)).encode()
RECEIPT_TARGETS = (
    Target(
        "receipt",
        Receipt.decode,
        either(json_like(_RECEIPT), _BODIES, mutated(_RECEIPT)),
        (ReceiptInvalidError,),
    ),
    Target("receipt-chain", _chain, _CHAIN, (ReceiptInvalidError,)),
    Target("offline-receipts", _offline_chain, _CHAIN),
    Target(
        "retention-state",
        of_file(load_state),
        either(json_like(_STATE), mutated(_STATE)),
        (StateDamagedError,),
    ),
)


# --- outbox and state ---------------------------------------------------------------------------------------------

_SPOOL_HEAD = canonical_json(
    {"id": "hit-1", "kind": "hit", "queued_us": 5, "sha256": hashlib.sha256(b"body").hexdigest(), "size": 4}
)
_STATE_JSON = b'{"tickets":{"1":{"a":1},"2":{"b":[2]}}}'


def _spool_around(head: bytes) -> bytes:
    return b"WAYSPOOL" + (len(head) & 0xFFFF).to_bytes(2, "big") + head + b"body"


def _spool_item(data: bytes) -> bool:
    queued_us_of(data)
    return parse_head(data, "hit-1", len(data)) is not None


def _spool_attempts(data: bytes) -> bool:
    there = cast("Spool", SimpleNamespace(_path=lambda _state, _item_id: held(data)))
    return Spool._attempts(there, "hit-1") != (0, "")


class _HeldStorage(AtomicStorage):
    """The state's storage over a file in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(cast("Path", held(data)))


def _state(data: bytes) -> bool:
    return bool(TinyDB(data, storage=_HeldStorage).table("tickets").all())


SMALL_TARGETS = (
    Target(
        "spool-item",
        _spool_item,
        either(mutated(_spool_around(_SPOOL_HEAD)), wrapped(json_like(_SPOOL_HEAD), _spool_around)),
    ),
    Target("spool-attempts", _spool_attempts, either(json_like(b'{"attempts":3,"reason":"503"}'), noise(40))),
    Target("state", _state, either(json_like(_STATE_JSON), mutated(_STATE_JSON)), (StateDamagedError,)),
)

TARGETS = (*KEY_TARGETS, *AUDIT_TARGETS, *RECEIPT_TARGETS, *SMALL_TARGETS)
