# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while the appliance is put together or run; the docstring says what to do about it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What `wayside` returns to the shell."""

    OK = 0
    PROBLEM = 1  # the command ran and found a problem
    USAGE = 2
    REFUSED = 3  # not enrolled, or not allowed
    IO = 4  # a file, a device or the network is not there


class FirmwareError(Exception):
    """Base of every error that firmware raises itself."""

    permanent: bool = True
    exit_code: ExitCode = ExitCode.PROBLEM


class ConfigError(FirmwareError):
    """The configuration file can't be used; the message names the key and what it wants."""

    exit_code = ExitCode.USAGE


class NotEnrolledError(FirmwareError):
    """The device has no enrolment bundle; run `wayside-tech enrol` first."""

    exit_code = ExitCode.REFUSED


class TrustError(FirmwareError):
    """The keyring or its root of trust can't be used as asked; the message says what to do."""


class ServiceError(FirmwareError):
    """A service did not start, or ended by itself; its log says why."""

    exit_code = ExitCode.IO


class DemoError(FirmwareError):
    """A step of `wayside demo` failed; the message holds what the step printed."""
