# SPDX-License-Identifier: Apache-2.0
"""docs/provisioning.md names every command, option, exit code, device file and log event."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from provisioning import identity
from provisioning.host import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "provisioning.md").read_text()


def test_every_command_and_option_is_documented() -> None:
    parser = cli.build_parser()
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in subparsers.choices.items():
        assert f"`{name}" in PAGE
        for option in command._option_string_actions:
            assert option in PAGE or option in {"-h", "--help"}, option


def test_every_exit_code_is_documented() -> None:
    said = PAGE[PAGE.index("Exit codes:") :].split("\n\n")[0]
    assert set(re.findall(r"(\d) [`a-z]", said)) == {
        str(code) for name, code in vars(cli).items() if name.startswith("EXIT_")
    }


def test_every_file_of_the_identity_folder_is_documented() -> None:
    for name, value in vars(identity).items():
        if name.endswith("_FILE"):
            assert f"`{value}`" in PAGE


def test_every_log_event_is_documented_and_no_other() -> None:
    source = "".join(path.read_text() for path in (ROOT / "provisioning").rglob("*.py"))
    events = set(re.findall(r'log\.\w+\(\s*"(\w+)"', source))
    assert events == set(
        re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]+\|$", PAGE.split("### Log events")[1], re.MULTILINE)
    )
