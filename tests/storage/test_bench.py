# SPDX-License-Identifier: Apache-2.0
"""The store's figures: all of them are told, and each follows what happens."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

import pytest

from firmware.cli import build_parser
from firmware.config import EyeConfig
from storage import bench_end, bench_open, bench_road, bench_seal
from storage.bench import GOALS, BenchSizes, bench_store, missed
from storage.bench_world import CROP, FIRST_US, READ, SCENE, BenchDevice
from storage.types import SegmentKind

SMALL = BenchSizes(
    repeats=1,
    segment_bytes=3_000_000,
    road_s=40,
    crashed_bytes=400_000,
    epoch_records=300,
    keyring_epochs=50,
    many_segments=20,
    openssl_s=1,
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "bench-store.md"


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict[str, object]:
    return bench_store(tmp_path_factory.mktemp("bench"), SMALL)


def test_every_figure_is_told_and_is_in_the_document(figures) -> None:
    told = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)))
    )
    assert set(figures) == told | {"goals_missed"}
    assert {
        *("sealed_reads_per_s", "bytes_per_read", "overhead_ratio", "fsyncs_per_s", "ack_ms_p95"),
        *("open_mb_per_s", "openssl_mb_per_s", "recovery_s_per_gb", "delete_epoch_s", "rss_growth_mb"),
    } <= set(figures)


def test_the_goals_of_the_document_are_those_that_are_checked() -> None:
    rows = re.findall(r"^\| `(\w+)` \| at (least|most) ([0-9.]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    stated = {name: (float(bar), None) if side == "least" else (None, float(bar)) for name, side, bar in rows}
    assert stated == GOALS


def test_the_figures_are_those_of_the_payload(figures) -> None:
    assert 68_200 < figures["bytes_per_read"] < 68_400
    assert 0 < figures["overhead_ratio"] < 0.003
    assert 1.6 < figures["fsyncs_per_s"] < 2.2
    assert 68_200 < figures["bytes_written_per_read"] < 68_500
    assert 400 < figures["ack_ms_p50"] < figures["ack_ms_p95"] < 2000
    assert figures["syncs_per_hit"] == 4
    positive = (
        "sealed_reads_per_s",
        "open_mb_per_s",
        "open_reads_per_s",
        "recovery_s_per_gb",
        "delete_epoch_s",
    )
    assert all(figures[name] > 0 for name in positive)


def test_a_goal_is_missed_on_its_own_side() -> None:
    met = {name: least if most is None else most for name, (least, most) in GOALS.items()}
    assert missed(met) == []
    for name, (least, _) in GOALS.items():
        worse = met[name] * (0.9 if least is not None else 1.1)
        assert missed({**met, name: worse}) == [name]
    assert missed({**met, "open_ratio": None}) == []


def test_the_command_takes_a_file_for_the_figures() -> None:
    options = build_parser().parse_args(["bench", "store", "--json", "out.json"])
    assert (options.kind, options.json) == ("store", "out.json")


def test_the_road_commits_as_often_as_the_eye_does() -> None:
    assert EyeConfig().commit_interval_ms == bench_road.COMMIT_EVERY_S * 1000
    assert EyeConfig().retention_poll_s == bench_road.RETENTION_EVERY_S


def test_syncs_and_waits_follow_the_interval(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench_road, "COMMIT_EVERY_S", 0.4)
    often = bench_road.bench_road(tmp_path, 20)
    assert often["fsyncs_per_s"] > 4.8
    assert often["ack_ms_p95"] < 900


def test_memory_that_grows_with_a_segment_shows(tmp_path, monkeypatch) -> None:
    hoard: list[mmap.mmap] = []
    seal = BenchDevice.seal

    def hoarding(device: BenchDevice, at_us: int) -> None:
        seal(device, at_us)
        hoard.append(mmap.mmap(-1, 300_000))  # from the system, not from what the process once had and freed
        hoard[-1].write(bytes(300_000))

    monkeypatch.setattr(BenchDevice, "seal", hoarding)
    figures, _ = bench_seal.bench_sealing(tmp_path, 10_000_000, 1)
    assert figures["rss_growth_mb"] > 20


def test_every_run_has_the_same_payload() -> None:
    assert list(map(len, (READ, CROP, SCENE))) == [200, 8_000, 60_000]
    assert hashlib.sha256(READ + CROP + SCENE).hexdigest().startswith("cafd9d6a6bda674e")


def test_every_sync_and_byte_of_the_device_counts(tmp_path) -> None:
    device = BenchDevice(tmp_path)
    device.seal(FIRST_US)
    before = device.files.syncs, device.files.written
    device.store.append(SegmentKind.READS, b"x" * 100, at_us=FIRST_US)
    device.store.commit()
    assert device.files.syncs - before[0] == 2
    device.keyring.share(1)
    assert device.files.syncs - before[0] == 4
    device.store.close()


MR = "+DT:AES-256-GCM:1:16384\n+R:305446:AES-256-GCM:1.000000\n+H:16384\n+F:25:AES-256-GCM:5004427264.00\n"


@pytest.mark.parametrize(("text", "speed"), [(MR, 5004427264.0), ("", None), ("+F:25:AES-256-GCM:\n", None)])
def test_what_openssl_says_is_read(text, speed) -> None:
    assert bench_open.parse_speed(text) == speed


def test_without_openssl_there_is_no_figure(monkeypatch) -> None:
    monkeypatch.setattr(bench_open.shutil, "which", lambda _: None)
    assert bench_open.openssl_bytes_per_s(16_384, 1) is None


@pytest.mark.slow
def test_an_hour_of_100_000_reads_dies_in_one_run_and_all_are_in_its_receipt(tmp_path) -> None:
    assert (
        bench_end.bench_deletion(tmp_path, 100_000, 1)["delete_epoch_s"] > 0
    )  # it raises where one is missing
