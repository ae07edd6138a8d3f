# SPDX-License-Identifier: Apache-2.0
"""Commands: devices enrol, list, revoke, request, technician."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from backoffice import devices, technicians
from backoffice.acting import acting
from backoffice.console import say, say_json, table
from backoffice.errors import BadRequest
from backoffice.pages.views import when
from backoffice.people import Action
from storage.atomic import write_atomic
from sync.certificates import MAX_CSR_BYTES
from sync.enrolment import Placement, Position

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    group = commands.add_parser("devices", help="enrol, list, revoke; technicians").add_subparsers(
        required=True, metavar="WHAT"
    )
    enrol = group.add_parser("enrol", help="issue a certificate and a signed bundle for a device's request")
    enrol.add_argument("--csr", type=Path, required=True, help="the device's certificate request (PEM)")
    enrol.add_argument("--out", type=Path, required=True, help="where to write the bundle")
    enrol.add_argument("--device-id", help="refuse the request unless it is for this id")
    enrol.add_argument("--office-url", help="where the device reaches the office (default: as running)")
    enrol.add_argument("--camera", default="camera-1", help="what the camera is called")
    enrol.add_argument("--mobile", action="store_true", help="the unit moves; no fixed position")
    enrol.add_argument("--position", type=float, nargs=2, metavar=("LAT", "LON"), help="surveyed position")
    _json_flag(enrol)
    enrol.set_defaults(run=_enrol)
    listing = group.add_parser("list", help="every device")
    _json_flag(listing)
    listing.set_defaults(run=_devices_list)
    revoke = group.add_parser("revoke", help="refuse a device from now on")
    revoke.add_argument("device_id")
    revoke.add_argument("--reason", required=True)
    revoke.set_defaults(run=_revoke)
    person = group.add_parser("technician", help="issue a technician's certificate for `wayside-tech`")
    person.add_argument("--name", required=True, help="who: a-z, 0-9 and -, as in the request's CN")
    person.add_argument(
        "--csr", type=Path, required=True, help="the request (PEM): CN the name, OU technician"
    )
    person.add_argument("--out", type=Path, required=True, help="where to write the certificate (PEM)")
    person.set_defaults(run=_technician)
    push = group.add_parser("request", help="ask a device to push a segment with its next heartbeat")
    push.add_argument("device_id")
    push.add_argument("segment_id")
    push.set_defaults(run=_request)


def _enrol(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.ENROL) as actor:
        url = arguments.office_url or actor.office.device_url()
        how = devices.Enrolment(url, arguments.device_id, _placement(arguments))
        with arguments.csr.open("rb") as file:
            csr = file.read(MAX_CSR_BYTES + 1)
        actor.record("device_enrol", device=arguments.device_id, csr=str(arguments.csr), office_url=url)
        device_id, bundle = devices.enrol(actor.office, csr, how)
        actor.record("device_enrolled", device=device_id, office_url=url)
        write_atomic(arguments.out, bundle)
    if arguments.json:
        say_json({"device": device_id, "bundle": str(arguments.out), "office_url": url})
    else:
        say(f"{device_id}: bundle written to {arguments.out}; install it on the device within 30 days")
    return 0


def _placement(arguments: argparse.Namespace) -> Placement:
    try:
        position = None
        if arguments.position:
            position = Position(lat=arguments.position[0], lon=arguments.position[1], source="survey")
        return Placement(
            deployment="mobile" if arguments.mobile else "fixed", camera=arguments.camera, position=position
        )
    except ValueError as error:
        raise BadRequest("the placement is out of bounds: camera a-z 0-9 -, latitude, longitude") from error


def _devices_list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.DEVICES) as actor:
        found = devices.all_devices(actor.office)
    if arguments.json:
        for device in found:
            say_json(dataclasses.asdict(device))
        return 0
    rows = [
        (
            device.device_id,
            "revoked" if device.revoked_us else "enrolled",
            when(device.heartbeat_us) if device.heartbeat_us else "never",
            device.pull_url or "",
        )
        for device in found
    ]
    table(("DEVICE", "STATE", "LAST HEARTBEAT", "PULLED FROM"), rows)
    return 0


def _technician(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.USERS) as actor:
        with arguments.csr.open("rb") as file:
            csr = file.read(MAX_CSR_BYTES + 1)
        actor.record("technician_certify", name=arguments.name, csr=str(arguments.csr))
        pem, mark = technicians.certify(actor.office, arguments.name, csr)
        actor.record("technician_certified", name=arguments.name, key_sha256=mark)
        write_atomic(arguments.out, pem, mode=0o644)
    say(f"{arguments.name}: technician's certificate written to {arguments.out}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.ENROL) as actor:
        actor.record("device_revoke", device=arguments.device_id, reason=arguments.reason)
        devices.revoke(actor.office, arguments.device_id, arguments.reason)
        actor.record("device_revoked", device=arguments.device_id, reason=arguments.reason)
    say(f"{arguments.device_id}: revoked")
    return 0


def _request(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.PULL) as actor:
        what = {"device": arguments.device_id, "segment": arguments.segment_id}
        actor.record("segment_request", **what)
        devices.request_segment(actor.office, arguments.device_id, arguments.segment_id)
        actor.record("segment_requested", **what)
    say(f"{arguments.device_id}: asked for {arguments.segment_id}")
    return 0


def _json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
