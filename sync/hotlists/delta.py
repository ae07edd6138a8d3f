# SPDX-License-Identifier: Apache-2.0
"""Deltas: the change from one signed list to the next, which ends in exactly the signed bytes of the next.

A delta needs no signature of its own: it carries the signature line of the version it leads to, and
the result goes through `verify_list` like a whole list. A wrong delta can only fail.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from sync.errors import BadList, DeltaMismatch
from sync.hotlists.envelope import join_envelope, split_envelope
from sync.hotlists.listfile import DEFAULT_LIMITS
from sync.limits import ListLimits
from sync.schema import Count, Id, canonical_json

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Delta(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1] = 1
    list_id: Id
    from_version: Count
    from_sha256: Sha256
    to_version: Count
    to_sha256: Sha256
    signature: Annotated[str, StringConstraints(max_length=400, pattern=r"^[ -~]*$")]
    head: dict[str, JsonValue]
    remove: Annotated[list[str], Field(max_length=2_000_000)]
    put: Annotated[list[dict[str, JsonValue]], Field(max_length=2_000_000)]


def make_delta(old_signed: bytes, new_signed: bytes) -> bytes:
    """The delta between two signed lists of the same id, both from this office."""
    _, old = _fields(old_signed)
    signature, new = _fields(new_signed)
    if old["list_id"] != new["list_id"]:
        raise DeltaMismatch("the two files are different lists")
    before, after = _by_id(old), _by_id(new)
    delta = _Delta(
        list_id=new["list_id"],
        from_version=old["version"],
        from_sha256=hashlib.sha256(old_signed).hexdigest(),
        to_version=new["version"],
        to_sha256=hashlib.sha256(new_signed).hexdigest(),
        signature=signature,
        head={name: value for name, value in new.items() if name != "entries"},
        remove=sorted(before.keys() - after.keys()),
        put=[entry for name, entry in sorted(after.items()) if before.get(name) != entry],
    )
    return canonical_json(delta.model_dump(mode="json"))


def apply_delta(old_signed: bytes, delta: bytes, limits: ListLimits = DEFAULT_LIMITS) -> bytes:
    """The signed bytes of the next version, to be verified like any list; raises BadList or DeltaMismatch."""
    if len(delta) > limits.max_delta_bytes:
        raise BadList(f"the delta has {len(delta)} bytes, at most {limits.max_delta_bytes} allowed")
    try:
        change = _Delta.model_validate_json(delta, strict=True)
    except ValidationError:
        raise BadList("the delta does not follow its format") from None
    if hashlib.sha256(old_signed).hexdigest() != change.from_sha256:
        raise DeltaMismatch(f"{change.list_id}: the delta starts from another file than the one held")
    _, old = _fields(old_signed)
    entries = _by_id(old)
    for name in change.remove:
        entries.pop(name, None)
    entries.update((str(entry.get("entry_id")), entry) for entry in change.put)
    result = _joined(change, entries)
    if hashlib.sha256(result).hexdigest() != change.to_sha256:
        raise DeltaMismatch(f"{change.list_id}: the delta does not lead to the version it names")
    return result


def _joined(change: _Delta, entries: dict[str, dict[str, Any]]) -> bytes:
    try:
        body = canonical_json(change.head | {"entries": [entry for _, entry in sorted(entries.items())]})
    except ValueError:
        raise BadList("the delta holds values that JSON cannot carry") from None
    return join_envelope("list", change.signature, body)


def _fields(signed: bytes) -> tuple[str, dict[str, Any]]:
    signature, body = split_envelope("list", signed)
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise BadList("the list held is not JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("entries"), list):
        raise BadList("the list held has no entries")
    return signature, fields


def _by_id(fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        return {str(entry["entry_id"]): entry for entry in fields["entries"]}
    except (KeyError, TypeError):
        raise BadList("the list held has an entry without an id") from None
