# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from pathlib import Path

from firmware.status import StatusServer, ask, socket_path


def test_a_service_answers_and_then_is_gone(tmp_path: Path) -> None:
    server = StatusServer(socket_path(tmp_path, "eye"), lambda: {"reads": 3})
    assert ask(tmp_path, "eye") == {"reads": 3}
    assert stat.S_IMODE(socket_path(tmp_path, "eye").stat().st_mode) == 0o600
    server.close()
    assert ask(tmp_path, "eye") is None
    assert ask(tmp_path, "sync") is None


def test_long_folder_names_work(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    server = StatusServer(socket_path(deep, "eye"), lambda: {"up": True})
    try:
        assert ask(deep, "eye") == {"up": True}
    finally:
        server.close()


def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "eye")
    path.parent.mkdir()
    path.write_bytes(b"")
    server = StatusServer(path, lambda: {"again": 1})
    assert ask(tmp_path, "eye") == {"again": 1}
    server.close()


def test_a_part_that_cannot_be_asked_does_not_end_the_service(tmp_path: Path) -> None:
    answers: list[object] = [RuntimeError("AB12345 mutated"), {"reads": 3}]

    def snapshot() -> dict[str, object]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, dict)
        return answer

    server = StatusServer(socket_path(tmp_path, "eye"), snapshot)
    assert ask(tmp_path, "eye") == {"problem": "RuntimeError"}
    assert ask(tmp_path, "eye") == {"reads": 3}
    server.close()
