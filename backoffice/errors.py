# SPDX-License-Identifier: Apache-2.0
"""Errors of the back office; each says what to do, and its exit code at the command line."""

from __future__ import annotations


class OfficeError(Exception):
    """Base of every back-office error. `permanent`: repeating the same call cannot help."""

    permanent: bool = True
    exit_code: int = 1


class NotInitialised(OfficeError):
    """The data folder holds no office yet: run `wayside-office init` first."""


class AlreadyInitialised(OfficeError):
    """The data folder already holds an office; nothing was changed."""


class KeyLocked(OfficeError):
    """A private key is encrypted: set WAYSIDE_OFFICE_PASSPHRASE to the passphrase used at init."""

    exit_code = 3


class Refused(OfficeError):
    """The acting person may not do this (role, training, lockout) or left out a required reason."""

    exit_code = 3


class BadRequest(OfficeError):
    """The input is malformed or out of bounds; the message names the bound."""


class NotFound(OfficeError):
    """There is no such device, list, hit or segment."""


class Conflict(OfficeError):
    """The thing exists already with other content, or was decided already."""


class ClockInDoubt(OfficeError):
    """The office's clock jumped ahead and nothing confirms it; nothing was deleted: set it, or say that it is right."""

    permanent = False


class HitUnreadable(OfficeError):
    """A hit contradicts itself or its sender; it was not stored, and never will be."""


class HitNotOpenable(OfficeError):
    """The office itself lacks what opens this hit: load the hits key, or update this software. It was not stored."""

    permanent = False


class ReceiptRefused(OfficeError):
    """A deletion receipt is malformed, not signed by its device, or another one has its id; it was not stored."""


class DeviceUnreachable(OfficeError):
    """The device does not answer or the link broke: repeat the pull, it resumes."""

    permanent = False
    exit_code = 4


class DeviceUntrusted(OfficeError):
    """The other end is not the device asked for (certificate, name or role)."""

    exit_code = 3


class DeviceProtocolError(OfficeError):
    """The device answered something that the pull protocol does not allow."""

    exit_code = 4
