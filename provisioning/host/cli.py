# SPDX-License-Identifier: Apache-2.0
"""`wayside-tech`: the technician's tool on a laptop, over the USB cable."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from provisioning.errors import (
    BadRequest,
    CommandRefused,
    InstallRefused,
    LinkError,
    OfficeFailed,
    ProvisioningError,
    UntrustedPeer,
)
from provisioning.host import enrol, office
from provisioning.host.client import OPEN_TIMEOUT_S, SELFTEST_TIMEOUT_S, DeviceClient
from provisioning.host.known import KnownDevices, default_path
from provisioning.types import TlsFiles
from storage.atomic import write_atomic
from sync.certificates import spoken
from sync.enrolment import EnrolmentBundle, EnrolmentError

EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_LINK, EXIT_TRUST, EXIT_OFFICE = range(6)
EPILOG = """exit codes: 0 done; 1 refused, or a self-test failed; 2 wrong usage; 3 no answer on the cable;
4 the device or the agency is not the one expected; 5 wayside-office failed"""

Result = dict[str, object]
Command = Callable[[argparse.Namespace], tuple[int, Result]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; see EPILOG for the exit codes."""
    options = build_parser().parse_args(arguments)
    command: Command = options.run
    try:
        code, result = command(options)
    except (ProvisioningError, EnrolmentError, OSError) as error:
        return _fail(error, as_json=options.json)
    except KeyboardInterrupt:
        return EXIT_REFUSED
    _show(result, as_json=options.json)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="wayside-tech", description=__doc__, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=metadata.version("wayside"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _on_device(commands.add_parser("hello", help="who is on the cable"), _hello)
    _on_device(commands.add_parser("status", help="what the device says about itself"), _status)
    tests = _on_device(commands.add_parser("selftest", help="run the device's self-tests"), _selftest)
    tests.add_argument("name", nargs="*", help="which; all when none is named")
    _enrol_options(_on_device(commands.add_parser("enrol", help="give the device to an agency"), _enrol))
    reset = _on_device(commands.add_parser("reset", help="make the device forget its agency and key"), _reset)
    reset.add_argument("--confirm", required=True, metavar="DEVICE", help="the device's id, as a safeguard")
    forget = commands.add_parser("forget", help="forget the remembered key of a device that was reset")
    forget.add_argument("device", help="device id")
    _common(forget, _forget)
    return parser


def _common(parser: argparse.ArgumentParser, run: Command) -> None:
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--known", type=Path, default=default_path(), help="file of remembered devices")


def _on_device(parser: argparse.ArgumentParser, run: Command) -> argparse.ArgumentParser:
    _common(parser, run)
    parser.add_argument("--port", required=True, help="serial port of the device, such as /dev/ttyACM0")
    parser.add_argument(
        "--timeout", type=float, default=OPEN_TIMEOUT_S, help="seconds to wait for the device"
    )
    parser.add_argument("--cert", type=Path, help="technician certificate (PEM)")
    parser.add_argument("--key", type=Path, help="its key (PEM)")
    parser.add_argument("--yes", action="store_true", help="trust a new device or agency without asking")
    return parser


def _enrol_options(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--office-data", type=Path, metavar="DIR", help="the office is here: its data folder")
    way.add_argument("--csr-out", type=Path, metavar="FILE", help="only write the request, for the office")
    way.add_argument("--bundle-in", type=Path, metavar="FILE", help="install the bundle from the office")
    parser.add_argument("--ca-fingerprint", help="the agency's CA fingerprint, instead of being asked")


def _connect(options: argparse.Namespace) -> DeviceClient:
    if (options.cert is None) != (options.key is None):
        raise BadRequest("--cert and --key go together")
    technician = TlsFiles(options.cert, options.key, options.cert) if options.cert else None
    client = DeviceClient(options.port, technician, open_timeout_s=options.timeout)
    try:
        _trust(client, options)
    except BaseException:
        client.close()
        raise
    return client


def _trust(client: DeviceClient, options: argparse.Namespace) -> None:
    known, peer = KnownDevices(options.known), client.peer
    if known.check(peer):
        return
    _say(f"New device {peer.name}; compare with its label:\n  {spoken(peer.fingerprint)}")
    if not (options.yes or _ask("Is this the device?")):
        raise UntrustedPeer("the device was not confirmed")
    known.remember(peer)


def _hello(options: argparse.Namespace) -> tuple[int, Result]:
    with _connect(options) as client:
        return EXIT_OK, client.call("hello")


def _status(options: argparse.Namespace) -> tuple[int, Result]:
    with _connect(options) as client:
        return EXIT_OK, client.call("status")


def _selftest(options: argparse.Namespace) -> tuple[int, Result]:
    with _connect(options) as client:
        result = client.call("selftest", {"names": options.name}, timeout_s=SELFTEST_TIMEOUT_S)
    return (EXIT_OK if result.get("ok") is True else EXIT_REFUSED), result


def _reset(options: argparse.Namespace) -> tuple[int, Result]:
    with _connect(options) as client:
        result = client.call("reset", {"confirm": options.confirm})
        KnownDevices(options.known).forget(client.peer.name)
    return EXIT_OK, result


def _forget(options: argparse.Namespace) -> tuple[int, Result]:
    found = KnownDevices(options.known).forget(options.device)
    return EXIT_OK, {"device_id": options.device, "was_known": found}


def _enrol(options: argparse.Namespace) -> tuple[int, Result]:
    with _connect(options) as client:
        asked = enrol.ask(client)
        if options.csr_out:
            write_atomic(options.csr_out, asked.csr, mode=0o644)
            return EXIT_OK, {"device_id": asked.device_id, "csr": str(options.csr_out), "installed": False}
        data = (
            office.issue(options.office_data, asked.csr)
            if options.office_data
            else office.read_bundle(options.bundle_in)
        )
        result = enrol.install(client, data, asked, lambda bundle: _confirm(bundle, options))
    return EXIT_OK, result | {"installed": True}


def _confirm(bundle: EnrolmentBundle, options: argparse.Namespace) -> bool:
    _say(
        f"Agency: {_printable(bundle.agency.name)}\n  CA {spoken(bundle.ca_fingerprint)}\n  office {bundle.office_url}"
    )
    if options.ca_fingerprint is not None:
        if options.ca_fingerprint.replace(" ", "").lower() != bundle.ca_fingerprint:
            raise UntrustedPeer("the bundle is of another agency CA than --ca-fingerprint names")
        return True
    return bool(options.yes) or _ask("Does the office show the same fingerprint?")


def _ask(question: str) -> bool:
    if not sys.stdin.isatty():
        raise BadRequest("nobody to ask here; use --yes, or --ca-fingerprint for the agency")
    _say(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _show(result: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, sort_keys=True))
        return
    for key, value in result.items():
        if key == "results" and isinstance(value, list):
            for check in value:
                print(_check_line(check))
        else:
            print(f"{key}: {_printable(value)}")


def _check_line(check: object) -> str:
    fields = check if isinstance(check, dict) else {}
    mark = "ok  " if fields.get("ok") is True else "FAIL"
    return f"{mark} {_printable(fields.get('name', ''))}: {_printable(fields.get('detail', ''))}"


def _printable(value: object) -> str:
    """Text as it is when it cannot drive the terminal, everything else as ASCII JSON."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _fail(error: Exception, *, as_json: bool) -> int:
    code = _exit_code(error)
    reason = error.code if isinstance(error, CommandRefused) else type(error).__name__
    if as_json:
        print(json.dumps({"error": {"code": reason, "message": str(error), "exit": code}}, sort_keys=True))
    _say(f"wayside-tech: {_printable(str(error))}")
    return code


def _exit_code(error: Exception) -> int:
    table: tuple[tuple[type[Exception], int], ...] = (
        (LinkError, EXIT_LINK),
        (UntrustedPeer, EXIT_TRUST),
        (OfficeFailed, EXIT_OFFICE),
        (BadRequest, EXIT_USAGE),
        (InstallRefused, EXIT_REFUSED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), EXIT_REFUSED)


if __name__ == "__main__":
    sys.exit(main())
