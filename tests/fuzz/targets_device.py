# SPDX-License-Identifier: Apache-2.0
"""Targets in firmware and inference: the configuration, what was kept over a restart, and models."""

from __future__ import annotations

import zlib

import numpy as np

from firmware import alerts, camera_reference, clock, ledger, status, time_offer, verify_files
from firmware.config import load_config
from firmware.errors import ConfigError
from inference import labels, models
from inference.errors import BadManifestError, ModelCorruptError, ModelMissingError
from storage.primitives import canonical_json
from tests.fuzz.engine import Target
from tests.fuzz.held import held, memory_folder, of_file
from tests.fuzz.sources import Source, either, json_like, mutated, wrapped

_TOML = b"""data_dir = "data"
[camera]
driver = "sim"
[sync]
office_url = "https://office"
[eye]
threads = 2
"""
_TOML_WORDS = (
    b"[camera]\n",
    b"[[sync]]\n",
    b'driver = "v4l2"\n',
    b"= ",
    b'"',
    b"'''",
    b"1979-05-27",
    b"inf",
    b"nan",
    b"0x1f",
    b"a.b.c = 1\n",
    b"\\u0000",
)
_FOLDER = memory_folder()
_BOOT = time_offer.boot_id().encode()


def _config(data: bytes) -> object:
    path = _FOLDER / "device.toml"
    path.write_bytes(data)
    return load_config(path)


def _jsonish(seed: bytes) -> Source:
    return either(json_like(seed), json_like(seed), mutated(seed))


def _offer_seed() -> bytes:
    return canonical_json(
        {"at_us": 5, "boot": "BOOT", "monotonic_ns": 7, "source": "office", "uncertainty_us": 9}
    )


def _offer(data: bytes) -> object:
    """An offer of this boot: BOOT stands for its id."""
    return time_offer.read_offer(held(data.replace(b"BOOT", _BOOT)))


def _ledger(data: bytes) -> bool:
    return bool(ledger._load(held(data)))


def _reference_seed() -> bytes:
    place = np.full((4, 5, 2), 0.5, np.float32)
    return camera_reference.encode(camera_reference.Reference((place, None), (1.5, None)))


def _checksummed(body: bytes) -> bytes:
    return body + camera_reference.CHECKSUM.pack(zlib.crc32(body))


def _sure_label(data: bytes) -> object:
    entry = labels._entry(data, "held:1")
    for plate in entry.plates or ():
        labels.as_box(plate.get("box"))
        labels.truth_text(plate)
    return entry


_REFERENCE = _reference_seed()
_LABEL = b'{"height":480,"image":"a/b.jpg","plates":[{"box":[1,2,3.5,4],"quality":"clear","text":"AB1"}],"width":64}'
_MANIFEST = canonical_json(
    {"models": {"reader": {"file": "reader.tflite", "sha256": "0" * 64}}, "thresholds": {"reader": 0.5}}
)

TARGETS = (
    Target("config", _config, mutated(_TOML, b'data_dir = "x"\n', tokens=_TOML_WORDS), (ConfigError,)),
    Target(
        "clock-floor",
        lambda data: clock._read_floor(held(data)) != (0, 0),
        _jsonish(b'{"confirmed_us":5,"last_us":7}'),
    ),
    Target("time-offer", _offer, _jsonish(_offer_seed())),
    Target("ledger", _ledger, _jsonish(b'{"camera-1/491000":{"frames":5,"reads":2},"camera-1/491001":{}}')),
    Target(
        "alert-memory",
        lambda data: bool(alerts._recall(held(data))),
        _jsonish(b'{"AB|leads":[5,"hit-1"],"CD|sos":[7,"hit-2"]}'),
    ),
    Target(
        "camera-reference",
        camera_reference.decode,
        either(mutated(_REFERENCE), wrapped(mutated(_REFERENCE[:-4]), _checksummed)),
        (ValueError,),
    ),
    Target("device-state", lambda data: not verify_files._check_json(held(data)), _jsonish(b'{"a":{"b":1}}')),
    Target("status-answer", status.answer_of, _jsonish(b'{"service":"eye","ok":true,"facts":{"a":[1,2]}}')),
    Target(
        "model-manifest",
        of_file(models.read_manifest),
        _jsonish(_MANIFEST),
        (ModelCorruptError, ModelMissingError),
    ),
    Target("label", _sure_label, _jsonish(_LABEL), (BadManifestError,)),
)
