# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from storage.errors import RootOfTrustBusyError, RootOfTrustError, SlotMissingError
from storage.root_of_trust import FileRootOfTrust
from storage.root_watched import HOLD_OFF_S, WatchedRoot


class Moody(FileRootOfTrust):
    """Fails with `error` when there is one; counts what it is asked."""

    error: RootOfTrustError | None = None
    asked = 0

    def load(self, handle: str) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return super().load(handle)


@pytest.fixture
def moody(tmp_path) -> Moody:
    return Moody(tmp_path / "trust")


def test_what_it_last_said_is_remembered_until_it_works_again(moody) -> None:
    watched = WatchedRoot(moody)
    handle = watched.store(b"x")
    assert (watched.name, watched.best_effort, watched.handles()) == ("file", True, [handle])
    moody.error = RootOfTrustError("the chip is gone: replace it")
    for _ in range(3):
        with pytest.raises(RootOfTrustError, match="replace it"):
            watched.load(handle)
    assert (watched.trouble, moody.asked) == ("the chip is gone: replace it", 3)
    moody.error = None
    assert watched.load(handle) == b"x"
    assert watched.trouble == ""
    watched.destroy(handle)
    watched.recover()
    with pytest.raises(SlotMissingError):
        watched.load(handle)
    assert watched.trouble == ""


def test_one_that_does_not_answer_is_left_alone_for_a_while(moody) -> None:
    now_s = [100.0]
    watched = WatchedRoot(moody, lambda: now_s[0])
    handle = watched.store(b"x")
    moody.error = RootOfTrustBusyError("did not answer: try again")
    for _ in range(5):
        with pytest.raises(RootOfTrustBusyError, match="did not answer"):
            watched.load(handle)
    assert moody.asked == 1
    moody.error = None
    now_s[0] += HOLD_OFF_S
    assert watched.load(handle) == b"x"
    assert watched.trouble == ""
