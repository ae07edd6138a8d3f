# SPDX-License-Identifier: Apache-2.0
"""Writes docs/commands.md from the parsers, and the figures of the README and of the model card from the models'
manifest, so that none can say what is not so. `make docs` runs it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backoffice.cli import build_parser as office_parser
from firmware.cli import build_parser as device_parser
from inference.report.card import filled
from provisioning.host.cli import build_parser as tech_parser

TARGET = Path(__file__).parents[1] / "docs" / "commands.md"
CARD = TARGET.parent / "models" / "card.md"
README = Path(__file__).parents[1] / "README.md"
MANIFEST = Path(__file__).parents[1] / "inference" / "models" / "manifest.json"
BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"
HEAD = "# Commands\n\nWritten by `make docs` from the commands' own definitions.\n"


def render() -> str:
    """The whole document."""
    parts = [HEAD]
    for parser in (device_parser(), office_parser(), tech_parser()):
        parts.append(f"\n## `{parser.prog}`\n\n{_line(parser.description)}\n")
        for path, command, what in _commands(parser, parser.prog):
            parts.append(f"\n### `{path}`\n\n{what}\n" + "".join(_options(command)))
        if parser.epilog:
            parts.append(f"\n```\n{parser.epilog.strip()}\n```\n")
    return "".join(parts)


def accuracy(manifest: dict[str, Any]) -> str:
    """The README's table of figures."""
    every = manifest["accuracy"]
    clear = every["us_clear"]
    rows = [
        (
            "plates found (IoU 0.3), at least 24 px wide at the network's input",
            every["detection_recall_30_at24"],
            "0.92",
        ),
        ("false plates per image", every["false_plates_per_image"], "at most 0.10"),
        (
            "exact text, clear US plates at least 60 px wide, from the whole picture (O≡0, I≡1)",
            clear["exact_folded"],
            "0.85",
        ),
        ("the same to the letter", clear["exact"], ""),
        ("exact text, all plates with a known text (O≡0, I≡1)", every["exact_folded"], ""),
        ("character error rate, the same plates", every["character_error_rate"], ""),
    ]
    table = "\n".join(f"| {what} | {value:.3f} | {bar} |" for what, value, bar in rows)
    size = f"{every['model_bytes'] / 1e6:.2f} MB of models, {every['peak_rss_mb']:.0f} MB of memory"
    speed = f"{every['cpu_ms_p50']:.0f} ms of processor time a picture (one x86 thread)"
    counts = f"{every['plates_at24']}, {clear['plates']} and {every['plates_with_text']} plates"
    head = "| figure | measured | bar |\n|---|---|---|\n"
    return f"{head}{table}\n\nOn {counts}; {size}, {speed}.\n"


def readme(text: str) -> str:
    """The README with its figures brought up to date."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    head, rest = text.split(BEGIN)
    return head + BEGIN + "\n" + accuracy(manifest) + END + rest.split(END)[1]


SILENT = (argparse._HelpAction, argparse._SubParsersAction)  # noqa: SLF001


def _commands(
    parser: argparse.ArgumentParser, path: str
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every command that does something, with its one line of help."""
    for action in parser._actions:  # noqa: SLF001 -- argparse offers no other way to walk
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        told = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        for name, command in action.choices.items():
            inner = list(_commands(command, f"{path} {name}"))
            if not inner or command.get_default("run"):
                yield f"{path} {name}", command, told.get(name, "")
            yield from inner


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    first = True
    for action in command._actions:  # noqa: SLF001
        if action.help == argparse.SUPPRESS or isinstance(action, SILENT):
            continue
        if first:
            yield "\n| argument | meaning |\n|---|---|\n"
            first = False
        name = ", ".join(action.option_strings) or action.metavar or action.dest
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        needed = " (required)" if action.required and action.option_strings else ""
        yield f"| `{name}` | {_line(action.help)}{choices}{needed} |\n"


def _line(text: str | None) -> str:
    return " ".join((text or "").replace("|", "\\|").replace("%%", "%").split())


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
    figures = json.loads(MANIFEST.read_text(encoding="utf-8"))
    CARD.write_text(filled(CARD.read_text(encoding="utf-8"), figures), encoding="utf-8")
    print(f"wrote {TARGET.name} and the figures of {README.name} and {CARD.name}")
