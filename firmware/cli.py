# SPDX-License-Identifier: Apache-2.0
"""`wayside`: the command on the device (and, on a developer's machine, the whole appliance)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from rich.console import Console

from firmware.errors import ExitCode, FirmwareError

DEFAULT_CONFIG = Path("/etc/wayside/wayside.toml")
EPILOG = """exit codes: 0 done; 1 a problem was found; 2 wrong usage or configuration; 3 not enrolled or not allowed;
4 a file, device or network is not there"""

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; see EPILOG for the exit codes."""
    options = build_parser().parse_args(arguments)
    command: Command = options.run
    try:
        return int(command(options))
    except FirmwareError as error:
        print(f"wayside: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"wayside: {error}", file=sys.stderr)
        return ExitCode.IO
    except KeyboardInterrupt:
        return ExitCode.PROBLEM


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="wayside", description=__doc__, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=metadata.version("wayside"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _demo_options(
        commands.add_parser("demo", help="the appliance and an office, from enrolment to opened reads")
    )
    run = commands.add_parser("run", help="the three services of an enrolled device, live on this terminal")
    run.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (TOML)")
    run.add_argument("--duration", type=float, metavar="SECONDS", help="end by itself after this long")
    run.add_argument("--logs", type=Path, default=Path("run/logs"), help="where the services' logs go")
    run.set_defaults(run=_run)
    status = commands.add_parser(
        "status", help="on one screen: what is wrong and what to do, what is well, the figures"
    )
    status.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (TOML)")
    status.add_argument("--json", action="store_true", help="one JSON object")
    status.set_defaults(run=_status)
    learn = commands.add_parser(
        "learn-camera", help="the camera was moved or focused on purpose: it learns its road anew"
    )
    learn.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (TOML)")
    learn.set_defaults(run=_learn_camera)
    verify = commands.add_parser("verify", help="check all that a device stores; reports, never deletes")
    verify.add_argument(
        "store", type=Path, metavar="STORE", help="the device's data folder, or its store folder"
    )
    verify.add_argument(
        "--repair",
        action="store_true",
        help="first what is safe, while no service runs: left-over files, torn tails, modes",
    )
    verify.add_argument("--json", action="store_true", help="one JSON object")
    verify.set_defaults(run=_verify)
    trust = commands.add_parser(
        "trust", help="where the keyring's key lives, and whether it opens; move it, or start afresh"
    )
    trust.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (TOML)")
    change = trust.add_mutually_exclusive_group()
    change.add_argument(
        "--move", action="store_true", help="to the configured root of trust; stop the services before"
    )
    change.add_argument(
        "--start-afresh",
        action="store_true",
        help="a new keyring in place of one that does not open any more",
    )
    trust.add_argument(
        "--yes", action="store_true", help="with --start-afresh: what the old one held is lost"
    )
    trust.set_defaults(run=_trust)
    _bench_options(commands.add_parser("bench", help="measure accuracy and speed"))
    service = commands.add_parser("service", help="one service in the foreground, as systemd starts it")
    service.add_argument("name", choices=("eye", "sync", "provision"))
    service.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration file (TOML)")
    service.add_argument("--tap-fd", type=int, help=argparse.SUPPRESS)
    service.set_defaults(run=_service)
    return parser


def _demo_options(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--run-dir", type=Path, default=Path("run"), help="where everything of the run lies")
    demo.add_argument("--duration", type=float, metavar="SECONDS", help="end by itself after this long")
    source = demo.add_mutually_exclusive_group()
    source.add_argument(
        "--images", type=Path, metavar="FOLDER", help="play pictures instead of the simulated road"
    )
    source.add_argument("--video", type=Path, metavar="FILE", help="play a recording")
    source.add_argument("--camera", choices=("sim", "picamera2", "v4l2"), default="sim", help="which camera")
    demo.add_argument("--seed", type=int, default=1, help="of the simulated roadside")
    demo.add_argument("--json", type=Path, metavar="OUT", help="also write the summary to this file")
    demo.set_defaults(run=_demo)


def _bench_options(bench: argparse.ArgumentParser) -> None:
    kinds = bench.add_subparsers(dest="kind", required=True, metavar="WHAT")
    accuracy = kinds.add_parser("accuracy", help="reads against a manifest of labelled pictures")
    accuracy.add_argument("--manifest", type=Path, required=True)
    accuracy.add_argument(
        "--root", type=Path, required=True, help="folder that the manifest's paths start from"
    )
    accuracy.add_argument("--threads", type=int, default=1)
    accuracy.add_argument("--limit", type=int, help="only the first K pictures")
    accuracy.add_argument("--min-width", type=float, metavar="PX", help="of the plate in the stored picture")
    accuracy.add_argument("--country", help="only plates of this country, e.g. US")
    accuracy.add_argument("--quality", help="only plates of this quality, e.g. clear")
    accuracy.add_argument("--reads", type=Path, help="write one JSON line a picture to this file")
    accuracy.set_defaults(run=_bench)
    for name, what in (
        ("pipeline", "time of each stage on rendered frames"),
        ("match", "hot-list lookups against a large list"),
    ):
        part = kinds.add_parser(name, help=what)
        part.add_argument("--seconds", type=float, default=10.0, help="how long to measure")
        part.set_defaults(run=_bench)
    kinds.add_parser("store", help="sealing, opening, recovering and deleting").set_defaults(run=_bench)
    _road_options(kinds.add_parser("road", help="reads of the simulated road against what passed there"))
    night = kinds.add_parser("night", help="renders stills by night and day with their truth, and reads them")
    ghosts = kinds.add_parser("ghosts", help="makes pictures without plates, and counts what is read there")
    ghosts.add_argument("--manifest", type=Path, required=True, help="labelled pictures to make them of")
    ghosts.add_argument(
        "--root", type=Path, required=True, help="folder that the manifest's paths start from"
    )
    for part in (night, ghosts):
        part.add_argument("--out", type=Path, required=True, help="folder for the pictures and the manifest")
        part.add_argument("--count", type=int, default=200, help="rendered pictures (of each light)")
        part.add_argument("--seed", type=int, default=1)
        part.set_defaults(run=_bench)
    for part in kinds.choices.values():
        part.add_argument(
            "--json", default="-", metavar="OUT", help="file for the figures; - is the terminal"
        )
    models = kinds.add_parser("models", help="the models' goals beside what is measured")
    _model_options(models)
    models.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    models.set_defaults(run=_bench_models)
    report = kinds.add_parser(
        "report", help="the models' report: figures, curves, failures (needs matplotlib)"
    )
    _model_options(report)
    report.add_argument("--out", type=Path, default=Path("docs/models"), help="folder of the report")
    report.add_argument(
        "--gallery",
        type=Path,
        default=Path("build/models"),
        help="folder of the failures' pictures; never published",
    )
    report.set_defaults(run=_bench_report)


def _road_options(road: argparse.ArgumentParser) -> None:
    road.add_argument(
        "--scenario",
        metavar="NAME|FILE",
        help="a shipped scenario or a TOML file; light, speed, lanes, severity are its own",
    )
    road.add_argument("--light", choices=("day", "night"), default="day")
    road.add_argument("--speed-mph", type=float, default=55.0, help="of the traffic, 5 to 100")
    road.add_argument(
        "--lanes", type=int, choices=(1, 2), default=2, help="2: with traffic that comes nearer"
    )
    length = road.add_mutually_exclusive_group()
    length.add_argument("--vehicles", type=int, default=100, help="how many pass, about")
    length.add_argument("--seconds", type=float, help="of road, instead")
    length.add_argument("--minutes", type=float, help="of road, instead")
    road.add_argument("--fps", type=float, help="frames a second (default: the scenario's, or 30)")
    road.add_argument("--seed", type=int, default=1)
    road.add_argument(
        "--severity",
        type=int,
        choices=range(4),
        default=1,
        help="0 clear road, clean plates; 1 an ordinary one; 2 rain, shutter twice too long; 3 nearly hopeless",
    )
    road.add_argument("--threads", type=int, default=1)
    road.set_defaults(run=_bench)


def _model_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--data", type=Path, required=True, help="folder of val.jsonl and its pictures")
    part.add_argument("--limit", type=int, help="only the first K pictures")
    part.add_argument(
        "--plate-free",
        type=Path,
        metavar="MANIFEST",
        help="pictures without plates, beside their manifest: counts ghosts",
    )
    part.add_argument(
        "--acceptance",
        type=_acceptance,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="manifest of the acceptance pictures US, EU or BR; pictures beside it",
    )
    part.add_argument(
        "--peer",
        nargs="?",
        const=sys.executable,
        metavar="PYTHON",
        help="time fast-alpr on the same frames, in the interpreter that has it",
    )


def _acceptance(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in ("US", "EU", "BR") or not path:
        raise argparse.ArgumentTypeError(f"{text}: wants US=FILE, EU=FILE or BR=FILE")
    return name, Path(path)


def _demo(options: argparse.Namespace) -> int:
    from firmware.demo import run_demo
    from firmware.demo_setup import Choice

    choice = Choice(
        options.run_dir, options.duration, options.images, options.video, options.camera, options.seed
    )
    return run_demo(choice, Console(), options.json)


def _run(options: argparse.Namespace) -> int:
    from firmware.config import load_config
    from firmware.live import run_live

    load_config(options.config)  # a mistake is told here, once, and not by three services
    return run_live(options.config, options.logs, options.duration, Console())


def _status(options: argparse.Namespace) -> int:
    from firmware.config import load_config
    from firmware.status import statuses
    from firmware.status_screen import all_well, status_screen

    found = statuses(load_config(options.config).data_dir)
    if options.json:
        print(json.dumps(found, sort_keys=True))
    else:
        Console(highlight=False).print(status_screen(found, time.time_ns() // 1000))
    return ExitCode.OK if all_well(found) else ExitCode.PROBLEM


def _learn_camera(options: argparse.Namespace) -> int:
    from firmware.config import load_config
    from firmware.enrolled import ask_to_learn
    from storage.layout import DataLayout

    ask_to_learn(DataLayout(load_config(options.config).data_dir))
    print("the eye forgets within a second what its camera used to show; it has learnt anew after an hour")
    return ExitCode.OK


def _verify(options: argparse.Namespace) -> int:
    from firmware.repair import repair
    from firmware.verify import verify_device

    done = repair(options.store) if options.repair else []
    report = verify_device(options.store)
    if options.json:
        print(json.dumps({**report.as_json(), "repaired": done}, sort_keys=True))
    else:
        print("\n".join([*(f"repaired: {what}" for what in done), *report.lines()]))
    return ExitCode.OK if report.ok else ExitCode.PROBLEM


def _trust(options: argparse.Namespace) -> int:
    from firmware import trust
    from firmware.config import load_config

    config = load_config(options.config)
    if options.move:
        lines = trust.move(config)
    elif options.start_afresh:
        lines = trust.start_afresh(config, sure=options.yes)
    else:
        lines = trust.describe(config)
    print("\n".join(lines))
    return ExitCode.OK


def _bench(options: argparse.Namespace) -> int:
    from firmware.bench import run_bench

    text = json.dumps(run_bench(options), indent=1, sort_keys=True)
    if options.json == "-":
        print(text)
    else:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return ExitCode.OK


def _bench_models(options: argparse.Namespace) -> int:
    from firmware.bench import bench_models

    print(bench_models(options), end="")
    return ExitCode.OK


def _bench_report(options: argparse.Namespace) -> int:
    from firmware.bench import write_report

    for path in write_report(options):
        print(path)
    return ExitCode.OK


def _service(options: argparse.Namespace) -> int:
    from firmware import services
    from firmware.config import load_config

    config = load_config(options.config)
    if options.name == "eye":
        return services.run_eye(config, options.tap_fd)
    return services.run_sync(config) if options.name == "sync" else services.run_provision(config)


if __name__ == "__main__":
    sys.exit(main())
