# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from firmware.ledger import MAX_HOURS, US_PER_HOUR, Ledger


def test_counts_continue_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = Ledger(path)
    ledger.count("cam0", 5 * US_PER_HOUR, "reads")
    ledger.count("cam0", 5 * US_PER_HOUR + 9, "unread: one frame only", 2)
    ledger.persist()
    again = Ledger(path)
    again.count("cam0", 6 * US_PER_HOUR, "reads")
    assert again.hours()["cam0/5"] == {"reads": 1, "unread: one frame only": 2}
    assert again.totals() == {"reads": 2, "unread: one frame only": 2}


def test_a_damaged_ledger_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text('{"cam0/5": {"reads": ')
    assert Ledger(path).totals() == {}
    assert path.with_suffix(".damaged").exists()


def test_the_oldest_hours_give_way(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for hour in range(MAX_HOURS + 5):
        ledger.count("cam0", hour * US_PER_HOUR, "frames")
    assert len(ledger.hours()) == MAX_HOURS
    assert "cam0/4" not in ledger.hours()
