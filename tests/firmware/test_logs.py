# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.logs import (
    FORBIDDEN_FIELDS,
    MASK,
    MAX_REMEMBERED,
    REMEMBERED_S,
    WITHHELD,
    Withheld,
    configure_logs,
    withhold_secrets,
)

PLATES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=4, max_size=8)
SURROUND = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Z")), max_size=20)


@given(plate=PLATES, before=SURROUND, after=SURROUND, nested=st.booleans(), lower=st.booleans())
@settings(max_examples=50)
def test_a_text_that_was_read_never_reaches_a_line(
    plate: str, before: str, after: str, nested: bool, lower: bool
) -> None:
    WITHHELD.add(plate)
    value: object = f"{before}{plate.lower() if lower else plate}{after}"
    if nested:
        value = {"deep": [value, {"er": value}]}
    line = json.dumps(withhold_secrets(None, "info", {"event": "x", "reason": value}))
    assert plate not in line.upper().replace(MASK.upper(), "")


@given(name=st.sampled_from(sorted(FORBIDDEN_FIELDS)), value=st.one_of(st.text(), st.binary(), st.integers()))
@settings(max_examples=50)
def test_fields_that_name_a_secret_are_masked(name: str, value: object) -> None:
    assert withhold_secrets(None, "info", {name: value})[name] == MASK
    assert withhold_secrets(None, "info", {"deep": {name.upper(): value}})["deep"] == {name.upper(): MASK}


@given(st.binary(min_size=32, max_size=64))
@settings(max_examples=50)
def test_what_looks_like_a_key_is_masked(secret: bytes) -> None:
    event = withhold_secrets(None, "info", {"reason": f"key was {secret.hex()} ok", "raw": secret})
    assert secret.hex() not in json.dumps(event)
    assert event["raw"] == MASK


def test_a_pem_key_is_masked() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----"
    assert "MIGH" not in str(withhold_secrets(None, "info", {"reason": pem}))


def test_ordinary_values_pass() -> None:
    event = {
        "event": "segment_closed",
        "segment": "a" * 32,
        "count": 3,
        "ratio": 0.5,
        "ok": True,
        "none": None,
    }
    assert withhold_secrets(None, "info", dict(event)) == event


def test_memory_of_texts_is_bounded() -> None:
    withheld = Withheld()
    for number in range(MAX_REMEMBERED + 10):
        withheld.add(f"{number:07d}")
    assert withheld.mask("0000001") == "0000001"
    assert withheld.mask(f"{MAX_REMEMBERED + 9:07d}") == MASK


def test_a_text_is_remembered_for_an_hour_after_it_was_last_read() -> None:
    now_s = [0.0]
    withheld = Withheld(lambda: now_s[0])
    withheld.add("AB12345")
    withheld.add("CD67890")
    now_s[0] = REMEMBERED_S - 1
    withheld.add("AB12345")
    now_s[0] = REMEMBERED_S + 1
    withheld.forget_old()
    assert (withheld.mask("AB12345"), withheld.mask("CD67890")) == (MASK, "CD67890")


@pytest.fixture
def stream() -> io.StringIO:
    out = io.StringIO()
    configure_logs("info", "test", out)
    yield out  # type: ignore[misc]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(force=True)


def test_lines_are_json_from_structlog_and_from_libraries(stream: io.StringIO) -> None:
    WITHHELD.add("SECRET77")
    structlog.get_logger("a").info("camera_lost", reason="saw SECRET77")
    logging.getLogger("urllib3").warning("retry for %s", "secret77")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ours["event"] == "camera_lost"
    assert ours["service"] == "test"
    assert "SECRET77" not in stream.getvalue().upper()
    assert theirs["level"] == "warning"
