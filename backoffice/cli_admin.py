# SPDX-License-Identifier: Apache-2.0
"""Commands: init, serve, keys, users, audit."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from backoffice import cli_audit, keys, lists, witness
from backoffice.acting import acting
from backoffice.audit_report import last_review
from backoffice.console import say, say_json, table, warn
from backoffice.errors import BadRequest
from backoffice.office import Office, create, day_of, now_us
from backoffice.people import Action, Role
from backoffice.server import OfficeServer, Ports, wait_for_signal
from backoffice.settings import Settings
from storage.atomic import write_atomic
from storage.audit import AuditReport, Checkpoint, verify_audit
from storage.offline import CHECKER
from sync.certificates import load_public_key, spoken
from sync.schema import canonical_json

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    _add_init(commands)
    _add_serve(commands)
    group = commands.add_parser("keys", help="the office's keys").add_subparsers(
        required=True, metavar="WHAT"
    )
    listing = group.add_parser("list", help="purpose, key id, whether encrypted")
    _json_flag(listing)
    listing.set_defaults(run=_keys_list)
    _add_users(commands)
    _add_audit(commands)


def _json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_init(commands: Commands) -> None:
    init = commands.add_parser("init", help="make a new office: CA, keys, first administrator")
    init.add_argument("--agency", required=True, help="the agency's name")
    init.add_argument("--ori", default="", help="the agency's ORI")
    init.add_argument("--name", action="append", default=[], help="a host name or IP address of the server")
    init.add_argument("--url", help="where devices reach the office, https://HOST:PORT")
    init.add_argument("--retention-days", type=int, default=30, help="how long reads are kept (default 30)")
    _json_flag(init)
    init.set_defaults(run=_init)


def _init(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings(
            agency=arguments.agency,
            ori=arguments.ori,
            device_url=arguments.url,
            names=tuple(arguments.name),
            retention_seconds=arguments.retention_days * 86_400,
        )
    except ValueError as error:
        raise BadRequest(f"the settings are out of bounds: {error}") from error
    made = create(arguments.data, settings, now_us())
    office = Office.open(arguments.data)
    try:
        lists.publish(
            office
        )  # a signed manifest of no lists: devices can tell that from an office that is down
    finally:
        office.close()
    if arguments.json:
        say_json(dataclasses.asdict(made))
        return 0
    say(f"{made.agency}: the office is ready in {arguments.data}")
    say(f"CA fingerprint (compare it on each device): {spoken(made.ca_fingerprint)}")
    say(f"first login: {made.admin}   one-time password: {made.password}")
    if keys.passphrase() is None:
        warn(
            f"the private keys are not encrypted; set {keys.PASSPHRASE_VARIABLE} before init to encrypt them"
        )
    return 0


def _add_serve(commands: Commands) -> None:
    usual = Ports()
    serve = commands.add_parser("serve", help="run the device port and the pages")
    serve.add_argument("--bind", default=usual.bind, help="address of the device port (default 127.0.0.1)")
    serve.add_argument("--device-port", type=int, default=usual.device_port, help="0 picks a free one")
    serve.add_argument("--page-port", type=int, default=usual.page_port, help="0 picks a free one")
    serve.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    office = Office.open(arguments.data)
    try:
        server = OfficeServer(office, Ports(arguments.bind, arguments.device_port, arguments.page_port))
        urls = server.start()
        office.audit.record("serve_started", user="office", at_us=office.clock(), **urls)
        say_json({"event": "ready", **urls})
        wait_for_signal()
        server.stop()
        office.audit.record("serve_stopped", user="office", at_us=office.clock())
    finally:
        office.close()
    return 0


def _keys_list(arguments: argparse.Namespace) -> int:
    office = Office.open(arguments.data)
    try:
        found = keys.list_keys(office.layout)
    finally:
        office.close()
    if arguments.json:
        for info in found:
            say_json(dataclasses.asdict(info))
    else:
        rows = [
            (info.purpose, info.key_id, "encrypted" if info.encrypted else "plain, 0600") for info in found
        ]
        table(("PURPOSE", "KEY ID", "PRIVATE KEY"), rows)
    return 0


def _add_users(commands: Commands) -> None:
    group = commands.add_parser("users", help="people, roles, training").add_subparsers(
        required=True, metavar="WHAT"
    )
    add = group.add_parser("add", help="add a user; prints a one-time password")
    add.add_argument("name")
    add.add_argument("--role", choices=[str(role) for role in Role], required=True)
    add.add_argument("--trained-on", type=dt.date.fromisoformat, help="YYYY-MM-DD (default: today)")
    _json_flag(add)
    add.set_defaults(run=_users_add)
    listing = group.add_parser("list", help="every user")
    _json_flag(listing)
    listing.set_defaults(run=_users_list)
    trained = group.add_parser("trained", help="record a training")
    trained.add_argument("name")
    trained.add_argument("--on", type=dt.date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    trained.set_defaults(run=_users_trained)
    reset = group.add_parser("reset", help="a new one-time password; ends a lockout")
    reset.add_argument("name")
    reset.set_defaults(run=_users_reset)


def _users_add(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.USERS) as actor:
        now = actor.office.clock()
        trained = arguments.trained_on or day_of(now)
        person = {"name": arguments.name, "role": arguments.role, "trained_on": trained.isoformat()}
        actor.record("user_add", **person)
        password = actor.office.people.add(arguments.name, Role(arguments.role), trained, now)
        actor.record("user_added", **person)
    if arguments.json:
        say_json({"name": arguments.name, "role": arguments.role, "password": password})
    else:
        say(f"{arguments.name}: {arguments.role}, one-time password: {password}")
    return 0


def _users_list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.USERS) as actor:
        people, today = actor.office.people.all(), day_of(actor.office.clock())
    if arguments.json:
        for person in people:
            say_json(dataclasses.asdict(person))
        return 0
    rows = [(p.name, p.role, p.trained_on, f"{p.training_days_left(today)} d left") for p in people]
    table(("NAME", "ROLE", "TRAINED ON", "TRAINING"), rows)
    return 0


def _users_trained(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.USERS) as actor:
        actor.record("user_train", name=arguments.name, trained_on=arguments.on.isoformat())
        actor.office.people.retrain(arguments.name, arguments.on)
        actor.record("user_trained", name=arguments.name, trained_on=arguments.on.isoformat())
    say(f"{arguments.name}: trained on {arguments.on}")
    return 0


def _users_reset(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.USERS) as actor:
        actor.record("password_reset_asked", name=arguments.name)
        password = actor.office.people.reset_password(arguments.name)
        actor.record("password_reset", name=arguments.name)
    say(f"{arguments.name}: one-time password: {password}")
    return 0


def _add_audit(commands: Commands) -> None:
    group = commands.add_parser("audit", help="the audit log").add_subparsers(required=True, metavar="WHAT")
    verify = group.add_parser("verify", help="check the whole chain; exit code 1 when it was altered")
    _witness_option(verify)
    _json_flag(verify)
    verify.set_defaults(run=_audit_verify)
    check = group.add_parser("check", help="check an exported log; needs no office and no login")
    check.add_argument("folder", type=Path, metavar="DIR")
    _witness_option(check)
    _json_flag(check)
    check.set_defaults(run=_audit_check, offline=True)
    export = group.add_parser(
        "export", help="copy the log, its key, a signed checkpoint and the script that checks them"
    )
    export.add_argument("--out", type=Path, required=True, metavar="DIR")
    export.set_defaults(run=_audit_export)
    device = group.add_parser(
        "device", help="check a device's audit.jsonl with its key and against what the office noted of it"
    )
    device.add_argument("device", help="the device's id")
    device.add_argument("file", type=Path, metavar="FILE", help="its audit.jsonl")
    _json_flag(device)
    device.set_defaults(run=_audit_device)
    cli_audit.add_commands(group)


def _witness_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--witness",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a device's audit.jsonl, to hold the office's log against what the device noted of it",
    )


def _audit_verify(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        report = actor.office.audit.verify()
        key = keys.load_purpose_public(actor.office.layout, keys.AUDIT)
        more = witness.office_against_devices(actor.office.layout.audit, key, arguments.witness)
        review, now = last_review(actor.office), actor.office.clock()
    if review.overdue(now):
        warn(cli_audit.review_words(review, now))
    return _show_audit(
        dataclasses.replace(report, problems=(*report.problems, *more)), as_json=arguments.json
    )


def _audit_device(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        report, more = witness.device_against_office(actor.office, arguments.device, arguments.file)
    return _show_audit(
        dataclasses.replace(report, problems=(*report.problems, *more)), as_json=arguments.json
    )


def _show_audit(report: AuditReport, *, as_json: bool) -> int:
    if as_json:
        say_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        say(
            f"{report.entries} entries, {report.checkpoints} checkpoints, {len(report.problems)} problems, "
            f"{report.unsigned} entries after the last checkpoint"
        )
        for problem in report.problems:
            warn(problem)
    return 0 if report.ok else 1


def _audit_export(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        actor.record("audit_exported", to=str(arguments.out))
        checkpoint = actor.office.audit.checkpoint(actor.office.clock())
        layout = actor.office.layout
        arguments.out.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(arguments.out / "audit.jsonl", layout.audit.read_bytes())
        write_atomic(arguments.out / "audit.pub", (layout.keys / "audit.pub").read_bytes())
        write_atomic(arguments.out / "checkpoint.json", canonical_json(checkpoint.as_fields()) + b"\n")
        write_atomic(arguments.out / CHECKER.name, CHECKER.read_bytes())
    say(
        f"the audit log, its key, a checkpoint and {CHECKER.name}, which checks them, are in {arguments.out}{os.sep}"
    )
    return 0


def _audit_check(arguments: argparse.Namespace) -> int:
    folder = arguments.folder
    public = load_public_key((folder / "audit.pub").read_text())
    try:
        checkpoint = Checkpoint.from_fields(json.loads((folder / "checkpoint.json").read_bytes()))
    except ValueError as error:
        raise BadRequest(f"{folder} holds no checkpoint: export the log again") from error
    log = folder / "audit.jsonl"
    report = verify_audit(log, public, checkpoint=checkpoint)
    more = witness.office_against_devices(log, public, arguments.witness)
    return _show_audit(
        dataclasses.replace(report, problems=(*report.problems, *more)), as_json=arguments.json
    )
