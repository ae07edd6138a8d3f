# SPDX-License-Identifier: Apache-2.0
"""What `wayside status` and `wayside verify` tell a technician."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from firmware.errors import FirmwareError
from firmware.status import SERVICES, ask
from storage.fsck import verify_store
from storage.layout import DataLayout


def statuses(data_dir: Path) -> dict[str, dict[str, object] | None]:
    """What each service says; None for one that doesn't answer."""
    return {name: ask(data_dir, name) for name in SERVICES}


def status_table(found: Mapping[str, Mapping[str, object] | None]) -> Table:
    """One row a value, grouped by service."""
    table = Table(title="wayside", show_lines=False)
    for column in ("service", "what", "value"):
        table.add_column(column)
    for name, status in found.items():
        if status is None:
            table.add_row(
                f"[red]{name}[/red]", "not running", "start it: `systemctl start wayside-" + name + "`"
            )
            continue
        for number, (what, value) in enumerate(status.items()):
            table.add_row(f"[green]{name}[/green]" if number == 0 else "", what, _short(value))
        table.add_section()
    return table


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {number}" for key, number in sorted(value.items())) or "-"
    if isinstance(value, list):
        return "\n".join(str(item) for item in value) or "-"
    return str(value)


def verify_store_report(path: Path) -> tuple[dict[str, object], bool]:
    """The report as plain values, and whether the store is sound; `path` is a data folder or its store."""
    layout = DataLayout(path if (path / "store").is_dir() else path.parent)
    if not layout.store.is_dir():
        raise FirmwareError(f"{path}: no sealed store here; name the device's data folder")
    report = verify_store(layout.store)
    values = asdict(report)
    values["problems"] = [
        {key: str(value) for key, value in problem.items()} for problem in values["problems"]
    ]
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}, report.ok
