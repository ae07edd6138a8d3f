# SPDX-License-Identifier: Apache-2.0
"""`python -m inference.training`: from the data to the int8 models and their manifest (`make train`).

prepare   decode the pictures once into a cache
detector, corners, reader, state   train one net; an interrupted run goes on where it was
convert   checkpoints to int8 models, with their manifest entries
evaluate  float against int8 detector on the validation set; sets the detector's threshold
refine    the corner net's judgement, on the mistakes of the int8 detector (convert again afterwards)
tune      what is accepted as a plate and how sure a read is, fitted on training pictures
state-tune   when a state is named, fitted on training plates that were held out
manifest  bring the manifest's sizes and hashes up to date
all       everything above, in order
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parent.parent / "models"
NAMES = ("detector", "corners", "reader", "state")
TRAINED_ON = {
    "detector": (
        "train.jsonl (pictures with a held-out text left out)",
        "designs.jsonl and rendered plates (pasted over plates)",
    ),
    "corners": ("rendered plates on patches of train.jsonl", "crops_train.jsonl (negatives, calibration)"),
    "reader": ("rendered plates", "crops_train.jsonl"),
    "state": ("designs.jsonl (artwork, made into plates)", "crops_train.jsonl (one text in 16 held out)"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """Parsed command line; minutes per net."""

    data: Path
    work: Path
    models: Path
    device: str
    minutes_detector: float
    minutes_corners: float
    minutes_reader: float
    minutes_state: float
    minutes_refine: float


def _checkpoint(options: Options, name: str) -> Path:
    refined = options.work / name / "refined.pt"
    return refined if refined.exists() else options.work / name / f"{name}.pt"


def prepare(options: Options) -> None:
    """Decode the detector's pictures."""
    from inference.training import detector_data

    print(detector_data.prepare(options.data, options.work / "detector"))


def train_detector(options: Options) -> None:
    """Train the detector."""
    from inference.training import detector_train

    work = options.work / "detector"
    minutes, pool = options.minutes_detector, options.work / "corners" / "pool"
    print(detector_train.train(options.data, work, minutes, options.device, pool=pool))


def train_corners(options: Options) -> None:
    """Train the corner net."""
    from inference.training import corners_train

    work = options.work / "corners"
    print(corners_train.train(options.data, work, options.minutes_corners, options.device))


def train_reader(options: Options) -> None:
    """Train the reader."""
    from inference.training import reader_train

    work = options.work / "reader"
    print(reader_train.train(options.data, work, options.minutes_reader, options.device))


def train_state(options: Options) -> None:
    """Train the state net; the corner net comes first."""
    from inference.training import state_train

    work = options.work / "state"
    print(state_train.train(options.data, work, options.minutes_state, options.device))


def _export(options: Options, name: str) -> None:
    from inference.training import corners_train, detector_export, reader_train, state_train

    out = options.models / f"{name}.tflite"
    if name == "detector":
        detector_export.export(_checkpoint(options, name), out)
    elif name == "corners":
        corners_train.export(_checkpoint(options, name), out, options.data)
    elif name == "state":
        state_train.export(_checkpoint(options, name), out, options.data)
    else:
        reader_train.export(_checkpoint(options, name), out, options.data)


def _facts(options: Options, name: str) -> tuple[int, dict[str, Any]]:
    """Number of weights and the training figures of a checkpoint."""
    import torch

    from inference.training import corners_train, reader_train, state_train
    from inference.training.detector_net import parameters

    if name == "detector":
        run = json.loads((options.work / name / "detector-run.json").read_text(encoding="utf-8"))
        return int(run.pop("parameters")), run
    checkpoint = _checkpoint(options, name)
    load = {
        "corners": corners_train.load_net,
        "reader": reader_train.load_net,
        "state": state_train.load_net,
    }[name]
    net = load(checkpoint)
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return parameters(net), {"seconds": round(float(saved["seconds"])), "steps": int(saved["step"])}


def convert(options: Options) -> None:
    """Export every net that has a checkpoint."""
    from inference.training import manifest_build

    options.models.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if not _checkpoint(options, name).exists():
            print(f"{name}: no checkpoint under {options.work}, left as it is")
            continue
        _export(options, name)
        parameters, training = _facts(options, name)
        entry = manifest_build.Entry(name, parameters, TRAINED_ON[name], training)
        print(manifest_build.add(options.models, entry))


def evaluate(options: Options) -> None:
    """Measure the detector, float and int8, and write its threshold to the manifest."""
    from inference.training import detector_eval, manifest_build

    model = options.models / "detector.tflite"
    figures = detector_eval.compare(options.data, _checkpoint(options, "detector"), model)
    print(json.dumps(figures, indent=1))
    keys = ("threshold", "recall", "false_per_image")
    short = {kind: {key: values[key] for key in keys} for kind, values in figures.items()}
    parameters, training = _facts(options, "detector")
    entry = manifest_build.Entry("detector", parameters, TRAINED_ON["detector"], training, short)
    manifest_build.add(options.models, entry)
    manifest_build.add_thresholds(options.models, detector_score=figures["int8"]["threshold"])


def refine(options: Options) -> None:
    """Train the corner net's judgement on the detector's mistakes."""
    from inference.training import corners_mine

    detector, work = options.models / "detector.tflite", options.work / "corners"
    print(corners_mine.refine(options.data, work, options.minutes_refine, options.device, detector))


def tune(options: Options) -> None:
    """Fit on training pictures what is accepted and how sure a read is; measure it on the validation set."""
    from inference import tune as tuning

    places = {
        "--manifest": options.data / "train.jsonl",
        "--report": options.data / "val.jsonl",
        "--root": options.data,
        "--models": options.models,
    }
    tuning.main([str(part) for pair in places.items() for part in pair])


def tune_state(options: Options) -> None:
    """Fit temperature and thresholds of the state net; writes the manifest's thresholds `state_*`."""
    from inference.training import manifest_build, state_calibrate

    work = options.work / "state"
    result = state_calibrate.calibrate(options.data, work, options.models / "state.tflite")
    print(json.dumps(result.as_dict(), indent=1))
    manifest_build.add_thresholds(options.models, **result.thresholds)


def manifest(options: Options) -> None:
    """Bring the manifest up to date with the files."""
    from inference.training import manifest_build

    print("changed:", manifest_build.refresh(options.models) or "nothing")


def everything(options: Options) -> None:
    """From the data to the manifest."""
    # The corner net comes first: its pool of rendered plates is pasted into the detector's pictures.
    train = (prepare, train_corners, train_detector, train_reader, train_state)
    for step in (*train, convert, evaluate, refine, convert, evaluate, tune, tune_state, manifest):
        step(options)


COMMANDS: dict[str, Callable[[Options], None]] = {
    "prepare": prepare,
    "detector": train_detector,
    "corners": train_corners,
    "reader": train_reader,
    "state": train_state,
    "convert": convert,
    "evaluate": evaluate,
    "refine": refine,
    "tune": tune,
    "state-tune": tune_state,
    "manifest": manifest,
    "all": everything,
}


def parse(argv: Sequence[str]) -> tuple[str, Options]:
    """The command's name and its options."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m inference.training", description=__doc__, formatter_class=kind
    )
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl and the pictures")
    parser.add_argument("--work", type=Path, default=Path("run/training"), help="caches and checkpoints")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the int8 models go")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    for name, minutes in (
        ("detector", 92.0),
        ("corners", 25.0),
        ("reader", 95.0),
        ("state", 40.0),
        ("refine", 30.0),
    ):
        parser.add_argument(f"--minutes-{name}", type=float, default=minutes, help=f"default {minutes:g}")
    values = vars(parser.parse_args(argv))
    return str(values.pop("command")), Options(**values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 when a file or a library is missing."""
    command, options = parse(sys.argv[1:] if argv is None else argv)
    try:
        COMMANDS[command](options)
    except (FileNotFoundError, ImportError) as error:
        print(f"{error}; training needs the data (--data) and the extra `train`", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
