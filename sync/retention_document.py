# SPDX-License-Identifier: Apache-2.0
"""The agency's retention policy as a signed document: an envelope as LISTS.md describes, of the kind `retention`.

It is signed with the key that signs the agency's lists, the one that devices trust for what comes after enrolment,
under a label of its own: no list can be shown as a policy. The bundle's policy is the first, with the bundle's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, StringConstraints

from storage.atomic import write_atomic
from storage.files import OS_FILES, Files
from storage.retention_policies import SignedPolicy
from storage.retention_schedule import MAX_RETENTION_S, MIN_RETENTION_S, Overtaken, RetentionPolicy
from sync.errors import BadList, BadRecord, ListError
from sync.hotlists.envelope import open_envelope, sign_envelope
from sync.limits import MAX_NAME_CHARS, MAX_TEXT_CHARS
from sync.record import Count, Microseconds, Record

KIND = "retention"
MAX_POLICY_BYTES = 8 * 1024  # bytes, the signed document
MAX_OVERTAKEN = 16  # policies, each longer than the one before, while hours of the first are still held


Number = Annotated[Count, Field(ge=1)]
Seconds = Annotated[int, Field(ge=MIN_RETENTION_S, le=MAX_RETENTION_S)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class OvertakenPolicy(Record):
    """An earlier policy that is shorter than every later one: it shortened what had begun before `until_us`."""

    number: Number
    seconds: Seconds
    version: Version
    until_us: Microseconds


class RetentionDocument(Record):
    """A policy: `number` only grows, `seconds` is 3 minutes to 5 years, `by` is who decided it and `reason` why.

    `overtaken`, by number: who missed one of them shortens by it all the same.
    """

    v: Literal[1] = 1
    number: Number
    seconds: Seconds
    version: Version
    issued_us: Microseconds
    by: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS)]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS)]

    overtaken: Annotated[tuple[OvertakenPolicy, ...], Field(max_length=MAX_OVERTAKEN)] = ()

    @property
    def policy(self) -> RetentionPolicy:
        """What storage obeys."""
        return RetentionPolicy(self.seconds, self.version, self.number)

    def signed_policy(self, signed: bytes) -> SignedPolicy:
        """The same with its document and what it overtook, as storage keeps it."""
        overtaken = (
            Overtaken(RetentionPolicy(it.seconds, it.version, it.number), it.until_us)
            for it in self.overtaken
        )
        return SignedPolicy(self.policy, signed, tuple(overtaken))


def sign_retention(document: RetentionDocument, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signed document."""
    return sign_envelope(KIND, document.encode(), key)


def open_retention(signed: bytes, keys: Sequence[ec.EllipticCurvePublicKey]) -> RetentionDocument:
    """The document when one of the keys signed it; raises BadList, BadSignature."""
    body, _ = open_envelope(KIND, signed, keys, max_bytes=MAX_POLICY_BYTES)
    try:
        return RetentionDocument.decode(body)
    except BadRecord as error:
        raise BadList(str(error)) from None


class PolicyOffer:
    """The file in which the sync service leaves the newest policy for the eye, which verifies it again.

    Order of writes: the file is replaced whole; a crash before leaves the older policy, and the office sends it again.
    """

    def __init__(
        self, path: Path, keys: Sequence[ec.EllipticCurvePublicKey], first: int, *, files: Files = OS_FILES
    ) -> None:
        """`first` is the number of the enrolment bundle's policy."""
        self._path = path
        self._keys = keys
        self._first = first
        self._files = files

    def newest(self) -> RetentionDocument | None:
        """What lies there; None when it is missing or not the agency's."""
        try:
            return open_retention(self._path.read_bytes(), self._keys)
        except (FileNotFoundError, ListError):
            return None

    def put(self, signed: bytes) -> None:
        """Keeps a policy that is newer; raises BadList for an older one or another of the same number, OSError."""
        document, known = open_retention(signed, self._keys), self.newest()
        if document == known:
            return
        floor = max(self._first, known.number if known else 0)
        if document.number < floor or (known and document.number == known.number):
            raise BadList(f"retention policy {document.number} is refused: {floor} is known already")
        write_atomic(self._path, signed, files=self._files)
