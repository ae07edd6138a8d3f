# SPDX-License-Identifier: Apache-2.0
"""A pool of rendered scenes on disk, filled by one background process while the trainings draw from it.

`python -m inference.training.render_pool DATA POOL --scenes N` writes shards (one .npz file each, atomically);
the first ones are easy, later ones as hard as the road.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .detector_data import read_grey
from .glyphs_dies import die_cabinet, font_cabinet
from .render import Kit, draw_plate
from .render_scene import Scene, make_scene, wipe_serial

SHARD_SCENES = 2000
EASY_SHARDS = 3  # shards over which hardness rises from 0.25 to 1
_TEXT_BYTES = 12
_STREETS = 500  # street pictures held in memory at once
_DESIGNS = 1200
_FONT_FOLDER = Path("/usr/share/fonts/truetype")  # optional: variety only
_FONTS = ("dejavu/DejaVuS*-Bold*.ttf", "liberation/Liberation*-Bold*.ttf")


@dataclass(frozen=True, slots=True)
class Shard:
    """Arrays of n scenes: images (n, 128, 256) uint8, corners (n, 4, 2), texts (n,) str, two_rows (n,) bool."""

    images: NDArray[np.uint8]
    corners: NDArray[np.float32]
    texts: NDArray[np.str_]
    two_rows: NDArray[np.bool_]


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a manifest, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def drawn_rows(manifest: Path, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """At most `count` rows of a manifest, drawn without repetition; the same ones for the same seed."""
    rows = read_manifest(manifest)
    chosen = np.random.default_rng(seed).choice(len(rows), min(count, len(rows)), replace=False)
    return (rows[int(i)] for i in chosen)


def unit(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey levels 0..255 as floats 0..1, same shape."""
    return np.asarray(pictures.astype(np.float32) / np.float32(255), np.float32)


def load_kit(data: Path, rng: np.random.Generator, dies: int = 160) -> Kit:
    """Die sets and wiped backgrounds; fonts join in where the machine has them."""
    fonts = sorted(path for pattern in _FONTS for path in _FONT_FOLDER.glob(pattern))
    rows = read_manifest(data / "designs.jsonl")
    chosen = rng.choice(len(rows), min(_DESIGNS, len(rows)), replace=False)
    designs = [wipe_serial(read_grey(data / rows[int(i)]["image"])) for i in chosen]
    return Kit(die_cabinet(rng, dies, []), designs, font_cabinet(rng, fonts))


def load_streets(data: Path, rng: np.random.Generator, count: int = _STREETS) -> list[NDArray[np.uint8]]:
    """Grey pictures to stand behind plates, from the training images only."""
    rows = read_manifest(data / "train.jsonl")
    chosen = rng.choice(len(rows), min(count, len(rows)), replace=False)
    return [read_grey(data / rows[int(i)]["image"]) for i in chosen]


def save_shard(path: Path, scenes: list[Scene]) -> None:
    """Writes the scenes beside `path` first and renames, so that a reader never sees half a shard."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            images=np.stack([s.image for s in scenes]),
            corners=np.stack([s.corners for s in scenes]),
            texts=np.array([s.text for s in scenes], dtype=f"U{_TEXT_BYTES}"),
            two_rows=np.array([s.two_rows for s in scenes]),
        )
    part.replace(path)


def load_shard(path: Path) -> Shard:
    """One shard as written by save_shard."""
    with np.load(path) as file:
        return Shard(file["images"], file["corners"], file["texts"], file["two_rows"])


def fill_pool(data: Path, pool: Path, scenes: int, seed: int) -> None:
    """Writes shards until the pool holds `scenes`; picks up where an earlier run stopped."""
    cv2.setNumThreads(1)
    pool.mkdir(parents=True, exist_ok=True)
    for number in range(len(list(pool.glob("shard_*.npz"))), -(-scenes // SHARD_SCENES)):
        rng = np.random.default_rng((seed, number))
        if number % 8 == 0 or "kit" not in locals():
            kit, streets = load_kit(data, rng), load_streets(data, rng)
        made = []
        for i in range(SHARD_SCENES):
            level = min(1.0, 0.25 + 0.75 * (number + i / SHARD_SCENES) / EASY_SHARDS)
            street = streets[int(rng.integers(len(streets)))]
            made.append(make_scene(rng, draw_plate(rng, kit), street, level))
        save_shard(pool / f"shard_{number:04d}.npz", made)


@contextmanager
def filling(data: Path, pool: Path, scenes: int, seed: int) -> Iterator[None]:
    """Goes on filling the pool to `scenes` in a process of its own while the body runs."""
    process = multiprocessing.get_context("spawn").Process(
        target=fill_pool, args=(data, pool, scenes, seed), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def main() -> None:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--scenes", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    fill_pool(args.data, args.pool, args.scenes, args.seed)


if __name__ == "__main__":
    main()
