# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sync import errors
from sync.hotlists.listfile import verify_list

FOLDER = Path(__file__).parent / "data" / "vectors"
TRUSTED = ec.derive_private_key(1, ec.SECP256R1()).public_key()
NOW_US = 1_790_000_000_000_000


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.vector")), ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    head, _, data = path.read_bytes().partition(b"---\n")
    told = dict(line.split(": ", 1) for line in head.decode().splitlines())
    floor, now_us = int(told.get("floor", "0")), int(told.get("now_us", NOW_US))
    list_id = told.get("list_id", "leads")
    if told["expect"] == "ok":
        found = verify_list(data, (TRUSTED,), floor_version=floor, now_us=now_us, list_id=list_id)
        assert [entry.plate for entry in found.entries] == ["ZZ10021", "ZZ2?0*"]
        return
    with pytest.raises(getattr(errors, told["expect"])) as caught:
        verify_list(data, (TRUSTED,), floor_version=floor, now_us=now_us, list_id=list_id)
    assert type(caught.value).__name__ == told["expect"]


def test_there_are_vectors() -> None:
    assert len(list(FOLDER.glob("*.vector"))) >= 14
