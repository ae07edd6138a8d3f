# SPDX-License-Identifier: Apache-2.0
"""Commands: receipts verify, receipts export, verify-receipts."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from backoffice import receipts, receipts_export
from backoffice.acting import acting
from backoffice.console import say, say_json, warn
from backoffice.people import Action
from sync.certificates import spoken

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    group = commands.add_parser("receipts", help="the devices' deletion receipts").add_subparsers(
        required=True, metavar="WHAT"
    )
    verify = group.add_parser(
        "verify", help="check every chain, and that each hour that is due has a receipt"
    )
    verify.add_argument("--device", help="of one device only")
    verify.add_argument("--json", action="store_true", help="one JSON object a device")
    verify.set_defaults(run=_verify)
    out = group.add_parser("export", help="a chain, its key and a script that checks it, for anybody")
    out.add_argument("--device", required=True)
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    out.set_defaults(run=_export)
    check = commands.add_parser(
        "verify-receipts", help="check exported receipts; needs no office and no login"
    )
    check.add_argument("path", type=Path, metavar="PATH", help="an exported folder, or a receipts.jsonl")
    check.add_argument(
        "--key", type=Path, metavar="PEM", help="the device's key or certificate, if not there"
    )
    check.add_argument("--audit", type=Path, metavar="FILE", help="the device's audit log: shows a cut end")
    check.add_argument("--json", action="store_true", help="one JSON object")
    check.set_defaults(run=_check, offline=True)


def _verify(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        actor.record("receipts_verify", device=arguments.device)
        found = receipts.verify(actor.office, arguments.device)
        bad = [report.device for report in found if not report.ok]
        actor.record("receipts_verified", devices=len(found), bad=bad[:100])
    for report in found:
        _show(report, as_json=arguments.json)
    return 1 if bad else 0


def _show(report: receipts.ChainReport, *, as_json: bool, **more: str) -> None:
    if as_json:
        say_json({**dataclasses.asdict(report), "ok": report.ok, **more})
        return
    state = "whole" if report.ok else f"{len(report.problems)} problems"
    say(f"{report.device}: {report.receipts} receipts, {report.epochs} epochs erased, {state}")
    for problem in report.problems:
        warn(f"{report.device}: {problem}")


def _export(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        actor.record("receipts_export", device=arguments.device, to=str(arguments.out))
        about = receipts_export.export(actor.office, arguments.device, arguments.out)
        actor.record("receipts_exported", device=about.device, receipts=about.receipts, head=about.head)
    say(f"{about.device}: {about.receipts} receipts and what checks them are in {arguments.out}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    report, key = receipts_export.check(arguments.path, arguments.key, arguments.audit)
    _show(report, as_json=arguments.json, key_sha256=key)
    if not arguments.json:
        say(f"checked with the key {spoken(key)}")
    return 0 if report.ok else 1
