# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.swtpm import MISSING, Tpm, installed, running_tpm


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Commands that a test calls configure the logs of the whole process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def one_tpm() -> Iterator[Tpm]:
    if not installed():
        pytest.skip(MISSING)
    with running_tpm() as tpm:
        yield tpm


@pytest.fixture
def tpm(one_tpm: Tpm) -> Tpm:
    """A TPM as new; the same process for every test."""
    one_tpm.clear()
    return one_tpm
