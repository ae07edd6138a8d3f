# SPDX-License-Identifier: Apache-2.0
"""Commands: retention (deletes what is past it), retention set, retention show."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from backoffice import retention
from backoffice.acting import acting
from backoffice.console import say, say_json, table
from backoffice.devices import Device, all_devices
from backoffice.errors import BadRequest
from backoffice.pages.views import when
from backoffice.people import Action
from backoffice.retention_clock import doubt
from backoffice.retention_policy import (
    DAY_S,
    PROFILES,
    PolicyVersion,
    draft,
    newest,
    obeyed,
    obeys,
    schedule_with,
    set_policy,
    versions,
)

NOT_SURE = 2  # exit code of a command that destroys and was not told that it is meant

if TYPE_CHECKING:
    from backoffice.office import Office

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    end = commands.add_parser("retention", help="delete what is past the agency's retention; set and show it")
    end.add_argument("--dry-run", action="store_true", help="say what would go; delete nothing")
    end.add_argument(
        "--clock-is-right",
        action="store_true",
        help="delete although the office's clock jumped ahead: you looked",
    )
    end.add_argument("--json", action="store_true", help="one JSON object")
    end.set_defaults(run=_delete)
    group = end.add_subparsers(metavar="WHAT")
    change = group.add_parser(
        "set", help="sign a new policy: shortened at once, lengthened for new hours only"
    )
    length = change.add_mutually_exclusive_group(required=True)
    length.add_argument("--profile", choices=sorted(PROFILES), help="a policy that ships with Wayside")
    length.add_argument("--days", type=int, help="how long reads are kept, in days")
    length.add_argument("--seconds", type=int, help="how long reads are kept, in seconds; 180 to 5 years")
    change.add_argument("--name", help="what the agency calls it (default: the profile, or its length)")
    change.add_argument("--reason", required=True, help="why, in words; devices get it with the policy")
    change.add_argument(
        "--yes",
        action="store_true",
        help="shorten: what is past the new length is destroyed, here and on every device",
    )
    change.add_argument("--json", action="store_true", help="one JSON object")
    change.set_defaults(run=_set)
    show = group.add_parser("show", help="every policy, and which one each device obeys")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=_show)


def _delete(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.RETENTION) as actor:
        if arguments.dry_run:
            doomed = retention.plan(actor.office)
        else:
            doomed = retention.run_round(actor.office, actor.name, clock_is_right=arguments.clock_is_right)
    counts = doomed.counts()
    if arguments.json:
        say_json({**counts, "deleted": not arguments.dry_run})
    else:
        verb = "would go" if arguments.dry_run else "deleted"
        say(f"{counts['shares']} shares, {counts['segments']} segments, {counts['hits']} hits {verb}")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        raise BadRequest("`retention set` has no dry run: look at `retention show`")
    seconds, name = _chosen(arguments)
    with acting(arguments, Action.RETENTION) as actor:
        if seconds < newest(actor.office).policy.seconds and not arguments.yes:
            return _ask(actor.office, seconds, name, as_json=arguments.json)
        draft(actor.office, seconds, name, actor.name, arguments.reason)  # before anything is written down
        what = {"seconds": seconds, "version": name, "reason": arguments.reason.strip()}
        actor.record("retention_policy_set", **what)
        version = set_policy(actor.office, seconds, name, actor.name, arguments.reason)
        actor.record("retention_policy_is_set", number=version.policy.number, **what)
    if arguments.json:
        say_json(_told(version))
    else:
        say(
            f"policy {version.policy.number}, {name}: {_length(seconds)}; devices get it with their next heartbeat, "
            "the office deletes by it within the hour, or now by `wayside-office retention`"
        )
    return 0


def _ask(office: Office, seconds: int, name: str, *, as_json: bool) -> int:
    """What a shorter policy would destroy; nothing is signed."""
    counts = retention.plan(office, schedule_with(office, seconds, name)).counts()
    if as_json:
        say_json({"would_go": counts, "set": False})
    else:
        say(
            f"{name}, {_length(seconds)}, is shorter than {_length(newest(office).policy.seconds)}: nothing was set. "
            f"Here {counts['shares']} hours, {counts['segments']} segments and {counts['hits']} hits would go within "
            "the hour; each device deletes the same once it hears of it, with its next heartbeat. Nobody can bring "
            "that back. What is evidence needs a hold first. If that is meant, say it again with --yes"
        )
    return NOT_SURE


def _chosen(arguments: argparse.Namespace) -> tuple[int, str]:
    """(seconds, name) of the policy that was asked for."""
    if arguments.profile:
        return PROFILES[arguments.profile], arguments.name or arguments.profile
    if arguments.days is not None:
        return arguments.days * DAY_S, arguments.name or f"days-{arguments.days}"
    return arguments.seconds, arguments.name or f"seconds-{arguments.seconds}"


def _show(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.RETENTION) as actor:
        found = versions(actor.office)
        devices = [device for device in all_devices(actor.office) if device.revoked_us is None]
        waits = doubt(actor.office)
    if arguments.json:
        say_json(
            {
                "policies": [_told(version) for version in found],
                "devices": {device.device_id: _device(device, found[-1]) for device in devices},
                "waits": waits or None,
            }
        )
        return 0
    table(("POLICY", "NAME", "KEEPS", "SINCE", "BY", "WHY"), [_row(version) for version in found])
    if devices:
        say("")
        table(("DEVICE", "OBEYS"), [(it.device_id, obeys(it.heartbeat, found[-1].policy)) for it in devices])
    if waits:
        say("")
        say(waits)
    return 0


def _row(version: PolicyVersion) -> tuple[object, ...]:
    policy = version.policy
    since = when(version.issued_us) if version.issued_us else "init"
    return policy.number, policy.version, _length(policy.seconds), since, version.by, version.reason


def _device(device: Device, latest: PolicyVersion) -> dict[str, object]:
    told = obeyed(device.heartbeat, latest.policy)
    if told is None:
        return {"number": None, "version": None, "newest": False}
    return {"number": told.number, "version": told.version, "newest": told.newest}


def _told(version: PolicyVersion) -> dict[str, object]:
    policy = version.policy
    return {
        "number": policy.number,
        "version": policy.version,
        "seconds": policy.seconds,
        "issued_us": version.issued_us or None,
        "by": version.by or None,
        "reason": version.reason or None,
    }


def _length(seconds: int) -> str:
    """A length of time as a person says it."""
    for unit, name in ((DAY_S, "days"), (3600, "hours"), (60, "minutes")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"
