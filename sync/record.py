# SPDX-License-Identifier: Apache-2.0
"""What all records and documents share: strict validation, bounded input, canonical JSON, quiet refusals."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)

from sync.errors import BadRecord
from sync.limits import MAX_DOCUMENT_BYTES, MAX_NAME_CHARS, MAX_PLATE_CHARS, MAX_TEXT_CHARS

_MAX_TIME_US = 2**53 - 1  # microseconds; the largest integer that every JSON reader keeps exact

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
PlateText = Annotated[str, StringConstraints(pattern=rf"^[A-Z0-9]{{1,{MAX_PLATE_CHARS}}}$")]
StateCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Microseconds = Annotated[int, Field(ge=0, le=_MAX_TIME_US)]
Count = Annotated[int, Field(ge=0, le=_MAX_TIME_US)]


def _from_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error


Base64 = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda b: base64.b64encode(b).decode("ascii"), return_type=str, when_used="json"),
]


def canonical_json(value: object) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _explain(error: ValidationError) -> str:
    """Where and what kind, never the value: values hold plate text."""
    found = [
        f"{'.'.join(str(part)[:40] for part in item['loc']) or '(top)'}: {item['type']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    ]
    return "; ".join(found)


class Record(BaseModel):
    """Base of all documents: frozen, extra fields refused, canonical JSON both ways."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # input is plate text

    def encode(self) -> bytes:
        """Canonical JSON bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def max_bytes(cls) -> int:
        """The most bytes that `decode` accepts."""
        return MAX_DOCUMENT_BYTES

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse and validate strictly; raises BadRecord, whose message holds no values."""
        if len(data) > cls.max_bytes():
            raise BadRecord(f"{cls.__name__}: {len(data)} bytes, at most {cls.max_bytes()} allowed")
        try:
            return cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            raise BadRecord(f"{cls.__name__} refused: {_explain(error)}") from None


def to_jsonable(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, for pages and tables."""
    return record.model_dump(mode="json")
