# SPDX-License-Identifier: Apache-2.0
"""Every error of sync: one base; `permanent` says whether trying the same thing again can help.

No message holds plate text, keys or tokens: messages name lines, fields, sizes and what to do.
"""

from __future__ import annotations


class SyncError(Exception):
    """Base of all errors of this package."""

    permanent: bool = True


# --- records and documents -------------------------------------------------------------------------


class BadRecord(SyncError, ValueError):
    """A record or document does not follow its schema or breaks a bound; it is refused whole."""


# --- the wire --------------------------------------------------------------------------------------


class TransportError(SyncError):
    """The request got no usable answer (no route, reset, timeout); try again later."""

    permanent = False


class TlsRejected(TransportError):
    """The TLS handshake failed: one side does not trust the other's certificate. Check CA and clock."""


class ReplyTooLarge(TransportError):
    """The answer exceeds the limit for this request; nothing of it was used. It says nothing of what was sent."""


class BadReply(TransportError):
    """The answer is not what the wire format allows; it is not counted as an acknowledgement."""


class AuthRejected(TransportError):
    """The office answered 401 or 403: stop sending, raise an alarm, re-enrol or ask the office."""

    permanent = True

    def __init__(self, status: int) -> None:
        super().__init__(f"the office refused this device (HTTP {status}); check its enrolment at the office")
        self.status = status


class RequestRejected(TransportError):
    """The office refused this very request for good (such as 400, 413, 422); sending it again cannot help."""

    permanent = True

    def __init__(self, status: int) -> None:
        super().__init__(f"the office refuses this request for good (HTTP {status})")
        self.status = status


class OfficeUnavailable(TransportError):
    """The office cannot answer now (5xx, 429, a missing route); wait, at least `retry_after_s` when given."""

    def __init__(self, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(f"the office cannot answer now (HTTP {status})")
        self.status = status
        self.retry_after_s = retry_after_s


class OverBudget(TransportError):
    """The day's bytes for this purpose are spent; it goes on after midnight UTC."""


# --- hot lists -------------------------------------------------------------------------------------


class ListError(SyncError):
    """Base of what can be wrong with a hot list, a manifest or a delta."""


class LayoutError(ListError, ValueError):
    """A feed file cannot be read in the layout named; nothing of it was taken. Check layout and file."""


class UnknownLayout(LayoutError):
    """There is no such layout; the message lists those that exist."""


class FileTooLarge(LayoutError):
    """The feed file is larger than the bound; split it or raise the bound deliberately."""


class TruncatedFeed(LayoutError):
    """The feed ends early (no footer, a cut last line); fetch it again."""


class FooterMismatch(LayoutError):
    """The feed's footer counts other records than the file holds; fetch it again."""


class BadMapping(LayoutError):
    """The mapping file does not say what is needed, or names columns that the feed does not have."""


class BadList(ListError, ValueError):
    """The list, manifest or delta does not follow its format or breaks a bound."""


class BadSignature(ListError):
    """No trusted key signed these bytes; they were not parsed further. Check the list-signing keys."""


class RollbackRefused(ListError):
    """The version is below the highest one ever accepted for this list; an old list is not taken."""


class ListExpired(ListError):
    """The list or manifest is past its expiry; the office must publish a new version."""


class DeltaMismatch(ListError):
    """The delta does not start from the version held here; fetch the whole list."""


class ListStoreError(ListError):
    """The list store on disk cannot be read or opened with the key given."""

    permanent = False


class PolicyNeedsReason(ListError, ValueError):
    """A category that ships blocked was enabled without a recorded reason."""


class UnknownCategory(ListError, ValueError):
    """There is no such category; the message lists those that exist."""


# --- the pull service ------------------------------------------------------------------------------


class PullError(SyncError):
    """The pull service cannot start or serve; the message says why."""
