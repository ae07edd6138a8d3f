# SPDX-License-Identifier: Apache-2.0

"""Every error of provisioning: one base; `permanent` says whether trying the same thing again can help.

No message holds a key, a token or what the peer sent: messages name fields, sizes, ports and what to do.
"""

from __future__ import annotations


class ProvisioningError(Exception):
    """Base of all errors of this package."""

    permanent: bool = True


class IdentityError(ProvisioningError):
    """The identity folder is missing, damaged or belongs to another device; the message says which file."""


class InstallRefused(ProvisioningError):
    """The bundle is genuine in form but not for this device, not for now, or not confirmed."""


class LinkError(ProvisioningError):
    """The serial link gave no usable answer: check the cable and the port, then try again."""

    permanent = False


class PortUnavailable(LinkError):
    """The port does not exist, is used by another program or may not be opened by this user."""


class LinkLost(LinkError):
    """The other end went away in the middle (unplugged, restarted, or it closed the session)."""


class LinkTimeout(LinkError):
    """The other end did not answer in time."""


class SessionError(LinkError):
    """The encrypted session cannot go on: a gap, an altered record or a message over its bound."""


class UntrustedPeer(ProvisioningError):
    """The device shows another key than the one remembered for its name."""


class BadRequest(ProvisioningError):
    """The request is malformed or out of bounds; nothing was done."""


class Forbidden(ProvisioningError):
    """The command needs a technician certificate of the device's agency."""


class CommandRefused(ProvisioningError):
    """The device refused a command; `code` is its reason, the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OfficeFailed(ProvisioningError):
    """`wayside-office` on this laptop could not issue the bundle."""
