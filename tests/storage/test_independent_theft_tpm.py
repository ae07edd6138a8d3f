# SPDX-License-Identifier: Apache-2.0
"""What a thief makes of a device's disk when the root of trust is a TPM: with the disk, with disk and TPM."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, World
from thief import READS, copied, expired, loot, shares_in, written

from storage.errors import KeyringDamagedError
from storage.files import OS_FILES, Files
from storage.root_tpm2 import TpmRootOfTrust
from tests.swtpm import Tpm

ALL_KEYS = (AGENCY_KEY, DEVICE_KEY, OTHER_KEY)


class TpmWorld(World):
    """A device whose keyring's key is in a TPM."""

    def __init__(self, root: Path, tpm: Tpm) -> None:
        super().__init__(root)
        self.tpm = tpm

    def trust(self, files: Files = OS_FILES) -> TpmRootOfTrust:
        return self.tpm.root()


@pytest.fixture
def pole(tmp_path, tpm):
    made = TpmWorld(tmp_path / "pole", tpm)
    made.root.mkdir()
    yield made
    made.close()


@pytest.fixture
def before(pole) -> Path:
    written(pole)
    return copied(pole, "before")


def all_in(tpm: Tpm) -> list[bytes]:
    """All that an attacker gets out of the chip: each 32 bytes of each index that it gives to its owner."""
    found = []
    for index in re.findall(r"0x\w+", tpm.tool("tpm2_getcap", "handles-nv-index").decode()):
        content = tpm.tool("tpm2_nvread", index, "-C", index)
        found += [content[at : at + 32] for at in range(len(content) - 31)]
    return found


def test_a_disk_without_its_tpm_opens_nothing_even_inside_retention(before) -> None:
    assert shares_in([before]) == []
    assert loot([before], *ALL_KEYS) == set()


def test_disk_and_tpm_and_the_agencys_key_open_what_is_inside_retention_and_no_more(pole, before) -> None:
    """Who takes the whole pole has the TPM too, and it answers whoever starts the machine."""
    assert loot([before], AGENCY_KEY, chip=all_in(pole.tpm)) == set(READS)
    assert loot([before], DEVICE_KEY, OTHER_KEY, chip=all_in(pole.tpm)) == set()


def test_a_whole_copy_from_before_expiry_opens_nothing_of_the_expired_hour(pole, before) -> None:
    """The copy, the agency's key, and later the pole itself with its TPM: the hour is gone for everybody."""
    expired(pole)
    after = copied(pole, "after")
    assert loot([before], *ALL_KEYS) == set()
    assert loot([before], *ALL_KEYS, chip=all_in(pole.tpm)) == set()
    assert loot([before, after], *ALL_KEYS) == set()
    assert loot([before, after], *ALL_KEYS, chip=all_in(pole.tpm)) == {READS[1]}


def test_the_receipt_of_such_a_deletion_says_that_it_is_no_best_effort(pole, before) -> None:
    expired(pole)
    receipts = (pole.root / "retention" / "receipts.jsonl").read_text()
    assert '"best_effort":false' in receipts
    assert '"root_of_trust":"tpm2"' in receipts


def test_an_old_disk_put_back_into_its_device_stays_closed_and_costs_nothing(pole, before) -> None:
    expired(pole)
    after = copied(pole, "after")
    slots = pole.trust().handles()
    shutil.rmtree(pole.root)
    shutil.copytree(before, pole.root)
    for read_only in (True, False):
        with pytest.raises(KeyringDamagedError, match="put the right disk back"):
            pole.keyring(read_only=read_only)
    assert pole.trust().handles() == slots
    shutil.rmtree(pole.root)
    shutil.copytree(after, pole.root)
    assert pole.keyring().epochs() == [HOUR + 1]


def test_the_right_disk_in_another_device_stays_closed(pole, before) -> None:
    pole.tpm.clear()  # as a TPM that never saw it
    with pytest.raises(KeyringDamagedError, match="of another machine"):
        pole.keyring()
