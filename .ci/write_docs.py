# SPDX-License-Identifier: Apache-2.0
"""Writes docs/commands.md from the parsers themselves, so that it can't say what is not so. `make docs` runs it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from backoffice.cli import build_parser as office_parser
from firmware.cli import build_parser as device_parser
from provisioning.host.cli import build_parser as tech_parser

TARGET = Path(__file__).parents[1] / "docs" / "commands.md"
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
            if inner:
                yield from inner
            else:
                yield f"{path} {name}", command, told.get(name, "")


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    first = True
    for action in command._actions:  # noqa: SLF001
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):  # noqa: SLF001
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
    print(f"wrote {TARGET.name}")
