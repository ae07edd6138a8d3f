# SPDX-License-Identifier: Apache-2.0
"""The mapping file (TOML) that names the columns of a feed without a layout of its own."""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sync.errors import BadMapping
from sync.hotlists.entry import Category

MAX_MAPPING_BYTES = 64 * 1024  # bytes of TOML
_MAX_COLUMN = 4_096  # characters or columns of one line

Column = (
    Annotated[int, Field(ge=0, le=_MAX_COLUMN)]
    | Annotated[str, StringConstraints(max_length=100)]
    | tuple[Annotated[int, Field(ge=0, le=_MAX_COLUMN)], Annotated[int, Field(ge=1, le=_MAX_COLUMN)]]
)


class Columns(BaseModel):
    """Where each field is: a header name, a 0-based column, or [start, end) for fixed width."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plate: Column
    state: Column | None = None
    code: Column | None = None
    reason: Column | None = None
    source: Column | None = None
    effective: Column | None = None
    expires: Column | None = None
    year: Column | None = None
    make: Column | None = None
    model: Column | None = None
    style: Column | None = None
    colour: Column | None = None

    def used(self) -> dict[str, int | str | tuple[int, int]]:
        """The columns that the mapping names."""
        return {name: value for name, value in self if value is not None}


class FeedMapping(BaseModel):
    """How to read a feed: format, delimiter, header, columns, codes and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["csv", "fixed"] = "csv"
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    header: bool = True
    date_format: Annotated[str, StringConstraints(max_length=40)] = "%Y-%m-%d"
    default_state: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    default_category: Category = Category.OTHER
    codes: dict[str, Category] = {}
    columns: Columns

    @model_validator(mode="after")
    def _columns_fit(self) -> FeedMapping:
        for name, column in self.columns.used().items():
            fixed = isinstance(column, tuple)
            if fixed != (self.format == "fixed"):
                raise ValueError(f"column {name} does not fit format {self.format}")
            if isinstance(column, tuple) and column[0] >= column[1]:
                raise ValueError(f"column {name} ends before it starts")
            if isinstance(column, str) and not self.header:
                raise ValueError(f"column {name} is named, but header = false")
        if self.delimiter == '"' or not (self.delimiter == "\t" or self.delimiter.isprintable()):
            raise ValueError("the delimiter cannot be a quote or a control character other than tab")
        return self


def load_mapping(toml: bytes) -> FeedMapping:
    """Parse a mapping file; raises BadMapping, which says what is wrong."""
    if len(toml) > MAX_MAPPING_BYTES:
        raise BadMapping(f"the mapping file has more than {MAX_MAPPING_BYTES} bytes")
    try:
        return FeedMapping.model_validate(tomllib.loads(toml.decode()))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "mapping"
        raise BadMapping(f"{where}: {first['msg']}") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or a number of thousands of digits
        raise BadMapping(f"the mapping file is not TOML: {error}") from error
    except RecursionError:
        raise BadMapping("the mapping file is nested too deep") from None
