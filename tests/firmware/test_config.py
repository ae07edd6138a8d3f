# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from firmware.config import MAX_CONFIG_BYTES, DeviceConfig, load_config
from firmware.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "wayside.toml"
    path.write_text(text)
    return path


def test_the_data_folder_is_taken_from_where_the_file_lies(tmp_path: Path) -> None:
    config = load_config(
        _write(tmp_path, 'data_dir = "device"\n[camera]\nname = "replay"\noptions = { path = "x" }\n')
    )
    assert config.data_dir == tmp_path / "device"
    assert config.camera.options == {"path": "x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data_dir = 'd'\nspeed = 3\n", "speed"),
        ("data_dir = 'd'\n[camera]\nname = 'kodak'\n", "camera.name"),
        ("data_dir = 'd'\n[eye]\nthreads = 0\n", "eye.threads"),
        ("data_dir = \n", "not valid TOML"),
        ("[eye]\nthreads = 1\n", "data_dir"),
        ("#" * (MAX_CONFIG_BYTES + 1), "larger than"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(_write(tmp_path, text))


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.toml")


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = [
            a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(a, type)
        ]
        nested = next((a for a in inner if issubclass(a, BaseModel)), None)
        found += _keys(nested, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return found


@pytest.mark.parametrize("key", _keys(DeviceConfig))
def test_every_key_is_documented(key: str) -> None:
    assert f"`{key}`" in DOCS.read_text(encoding="utf-8")
