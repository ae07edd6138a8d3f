# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retention_world import receipts_of, retention

from storage.believed_time import SLACK_US, Believed
from storage.epoch_dates import EpochDates
from storage.errors import StateDamagedError
from storage.layout import RETENTION_FILE
from storage.retention_state import RetentionState, load_state
from storage.types import EPOCH_US, TimeEvidence

TIMES = st.integers(0, 1 << 60)
ENDS = st.dictionaries(st.integers(0, 1 << 40), TIMES, max_size=20)


@given(st.none() | st.builds(Believed, TIMES, TIMES, TIMES), ENDS, ENDS)
def test_what_is_written_is_what_is_read(tmp_path_factory, believed, undated, settled) -> None:
    path = tmp_path_factory.mktemp("state") / "retention.json"
    state = RetentionState(believed, EpochDates(undated, settled))
    path.write_bytes(state.encode())
    assert load_state(path) == state


def test_five_years_of_undated_hours_are_a_small_file(tmp_path) -> None:
    first, hours = 480_000, 5 * 366 * 24
    # the bound loses ten minutes in two weeks against the hours
    undated = {first + n: (first + n + 1) * EPOCH_US - n // 336 * 600_000_000 for n in range(hours)}
    state = RetentionState(None, EpochDates(undated))
    assert len(state.encode()) < 10_000
    (tmp_path / "retention.json").write_bytes(state.encode())
    assert load_state(tmp_path / "retention.json") == state


# As the software before the limit of one source, undated hours and settled ones wrote it; killed behind the unlinking.
BEFORE = (
    b'{"believed_us":1802000000000000,"plan":[{"best_effort":true,"device_id":"pole-7","epoch":500000,'
    b'"erased_us":1802000000000000,"n":0,"policy_seconds":2592000,"policy_version":"30d-1","prev":"'
    + b"0" * 64
    + b'","root_of_trust":"file","segments":[{"closed":true,"header_sha256":"'
    + b"ab" * 32
    + b'","kind":"reads","records":3,"segment_id":"500000-reads-00112233aabbccdd-0","size":1400}],'
    b'"time_sources":["gnss","office"]}]}'
)
BEFORE_US = 1_802_000_000_000_000


def test_the_state_of_the_software_before_keeps_its_time_and_the_plan_under_way(world) -> None:
    folder = world.root / "retention"
    folder.mkdir()
    (folder / RETENTION_FILE).write_bytes(BEFORE)
    state = load_state(folder / RETENTION_FILE)
    assert state.believed == Believed(BEFORE_US, BEFORE_US + SLACK_US, BEFORE_US)
    assert state.dates == EpochDates()
    (receipt,) = retention(world).run(TimeEvidence(0, 0, ()))
    assert receipt.body == state.plan[0]
    assert receipts_of(world) == [receipt]
    again = load_state(folder / RETENTION_FILE)
    assert again.plan == ()
    assert again.believed is not None
    assert again.believed.bound_us >= BEFORE_US


def test_a_state_before_any_time_was_known(tmp_path) -> None:
    path = tmp_path / RETENTION_FILE
    path.write_bytes(b'{"believed_us":null,"plan":[]}')
    assert load_state(path) == RetentionState()


@pytest.mark.parametrize("lost", ["limit_us", "since_us", "undated", "settled", "believed_us", "plan"])
def test_a_state_of_today_that_lost_a_part_is_damaged(tmp_path, lost) -> None:
    path = tmp_path / RETENTION_FILE
    value = json.loads(RetentionState(Believed(5, 6, 4)).encode())
    del value[lost]
    path.write_text(json.dumps(value))
    with pytest.raises(StateDamagedError):
        load_state(path)
