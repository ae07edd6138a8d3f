# SPDX-License-Identifier: Apache-2.0
"""Every error that storage raises; `permanent` tells a caller whether trying again can help."""

from __future__ import annotations

import errno


class StorageError(Exception):
    """Base of all errors of storage."""

    permanent: bool = True


class FormatError(StorageError):
    """The bytes are not what FORMAT.md describes."""


class BadMagicError(FormatError):
    """The file is of another kind: check that the right file was given."""


class UnsupportedVersionError(FormatError):
    """The file was written by a newer version: update this software to read it."""


class HeaderDamagedError(FormatError):
    """The header is cut, altered or not canonical: fetch the file again from its device."""


class TooLargeError(FormatError):
    """The input is over a stated bound: split it, or check where it came from."""


class EnvelopeDamagedError(FormatError):
    """A sealed envelope is cut, altered, or was sealed for another purpose: ask for it again."""


class NotARecipientError(StorageError):
    """The private key is not among the recipients: use the agency's key that the header names."""


class WrongKeyError(StorageError):
    """The private key is named in the header and yet does not open it: the header was altered."""


class WrongShareError(StorageError):
    """The share does not fit: pull the share of this epoch from the device that wrote the segment."""


class SignatureInvalidError(StorageError):
    """The signature is not of the given device key: check the device, then treat the file as forged."""


class BadRecipientError(StorageError):
    """A recipient key is no P-256 public key: export the agency's key again."""


class RootOfTrustError(StorageError):
    """The root of trust failed."""


class SlotMissingError(RootOfTrustError):
    """The root of trust does not hold this slot: it was destroyed, or belongs to another machine."""


class RootOfTrustBusyError(RootOfTrustError):
    """The root of trust does not answer now: try again."""

    permanent = False


class KeyringError(StorageError):
    """The keyring cannot be used."""


class KeyringMissingError(KeyringError):
    """No keyring here yet: start the process that owns it first."""

    permanent = False


class KeyringDamagedError(KeyringError):
    """The keyring does not open under its key: its shares are lost; set it aside and start afresh."""


class KeyringRolledBackError(KeyringDamagedError):
    """An older copy of the keyring was put back while it was in use: start the service again to go on with it."""


class KeyringElsewhereError(KeyringError):
    """The keyring is under another root of trust than configured: move it, or correct the configuration."""


class KeyringOpensError(KeyringError):
    """The keyring opens: there is nothing to start afresh; nothing was changed."""


class ForeignSlotsError(KeyringError):
    """The root of trust holds the key of a keyring that is not here: bring it back, or start afresh."""


class KeyringReadOnlyError(KeyringError):
    """This keyring was opened for reading: the owning process has to make the change."""


class KeyringBusyError(KeyringError):
    """Another process holds the keyring: try again."""

    permanent = False


class BadShareError(KeyringError, ValueError):
    """A share is exactly 32 bytes, its scope a plain id: ask the device for the share again."""


class StoreError(StorageError):
    """The segment store cannot do this."""


class StoreBusyError(StoreError):
    """Another process writes this store: stop it first."""

    permanent = False


class StoreClosedError(StoreError):
    """The store was closed: open it again."""


class BadTimeError(StoreError, ValueError):
    """A record's time is before 1970 or after 292000: set the clock first."""


class WriteFailedError(StoreError):
    """The disk refused a write; what was not acknowledged in `segments` (ids) is lost: check the disk."""

    permanent = False
    segments: tuple[str, ...] = ()


class DiskFullError(WriteFailedError):
    """The disk is full: free space, then commit again."""


class LowSpaceError(DiskFullError):
    """Too little space is left for records of this kind: nothing was appended; count it and go on."""


def is_bad_sector(error: OSError) -> bool:
    """Whether the disk cannot read this file, while it may read the next one."""
    return error.errno in {errno.EIO, errno.EUCLEAN, errno.EBADMSG}


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk (or quota) is at the root of an error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskFullError):
            return True
        if isinstance(seen, OSError) and seen.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        seen = seen.__cause__
    return False


class SpoolError(StorageError):
    """The outbox cannot do this."""


class BadIdError(SpoolError, ValueError):
    """An id is 1 to 64 of a-z, 0-9 and '-': give such an id."""


class SpoolFullError(SpoolError):
    """The outbox is at its limit: restore the link to the office, or raise the limit."""

    permanent = False


class ItemMissingError(SpoolError):
    """No such item waits: it was acknowledged or set aside."""


class ItemDamagedError(SpoolError):
    """The item does not match its checksum: it was set aside in quarantine."""


class AuditError(StorageError):
    """The audit log cannot be continued."""


class AuditDamagedError(AuditError):
    """The audit log does not end in a whole entry: verify it, set it aside, then start a new one."""


class EntryTooLargeError(AuditError, ValueError):
    """An audit entry is over its bound or is no plain JSON: record less."""


class StateDamagedError(StorageError):
    """A state file is no JSON object: set it aside and start again."""


class PolicyRolledBackError(StorageError):
    """A retention policy is older than the one in force, or another under its number: sign one with a new number."""


class PolicyInvalidError(StorageError, ValueError):
    """Retention is 3 minutes to 5 years: correct the policy."""


class ReceiptInvalidError(StorageError, ValueError):
    """A deletion receipt is malformed: fetch the chain again."""


class HeldRecordError(StorageError):
    """A record of a case is not as FORMAT.md says: keep the file, and open it with the software that wrote it."""
