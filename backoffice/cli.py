# SPDX-License-Identifier: Apache-2.0
"""`wayside-office`: the agency's server and clerk's commands."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from backoffice import (
    cli_admin,
    cli_data,
    cli_devices,
    cli_hits,
    cli_hold,
    cli_lists,
    cli_receipts,
    cli_retention,
    cli_tickets,
)
from backoffice.console import warn
from backoffice.errors import OfficeError
from storage.closed_memory import close_memory
from storage.errors import StorageError
from sync.errors import SyncError

EXIT_CODES = """exit codes:
  0  done
  1  done, and a problem was found (or the thing asked for is not there)
  2  wrong usage
  3  refused: role, training, passphrase, certificate
  4  disk or network

environment:
  WAYSIDE_OFFICE_DATA        the data folder, when --data is not given
  WAYSIDE_OFFICE_PASSPHRASE  encrypts and opens the private keys
  WAYSIDE_OFFICE_USER        who acts, when --as is not given (default: admin)
  DATABASE_URL               another database than the SQLite file in the data folder
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="wayside-office",
        description="The agency's server: devices, hot lists, hits, sealed reads.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = os.environ.get("WAYSIDE_OFFICE_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=default,
        metavar="DIR",
        help="the data folder; a check of an export needs none",
    )
    parser.set_defaults(offline=False)
    parser.add_argument(
        "--as",
        dest="actor",
        metavar="USER",
        default=os.environ.get("WAYSIDE_OFFICE_USER", "admin"),
        help="who acts: their role and training are checked, and the audit log names them",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cli_admin.add_commands(commands)
    cli_devices.add_commands(commands)
    cli_tickets.add_commands(commands)
    cli_lists.add_commands(commands)
    cli_hits.add_commands(commands)
    cli_receipts.add_commands(commands)
    cli_data.add_commands(commands)
    cli_retention.add_commands(commands)
    cli_hold.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.data is None and not arguments.offline:
        parser.error("--data DIR or WAYSIDE_OFFICE_DATA says which office")
    _configure_logs()
    if argv is None:  # a process of our own: it is about to hold keys, and what they open
        close_memory()
    try:
        return int(arguments.run(arguments))
    except OfficeError as error:
        warn(f"wayside-office: {error}")
        return error.exit_code
    except SyncError as error:
        warn(f"wayside-office: {error}")
        return 1
    except (StorageError, OSError) as error:
        warn(f"wayside-office: {error}")
        return 4
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130


def _configure_logs() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # whatever standard error is by then
        cache_logger_on_first_use=False,
    )


if __name__ == "__main__":
    sys.exit(main())
