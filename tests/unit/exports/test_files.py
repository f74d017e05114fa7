"""Locks and files that are replaced whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from breezeblock.exports.files import Locks, read_json, write_json


class TestLocks:
    def test_one_holder_at_a_time_also_when_the_file_is_removed(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path, patience=30)
        inside, most, rounds = 0, 0, 60
        guard = threading.Lock()

        def work() -> None:
            nonlocal inside, most
            for _ in range(rounds):
                with locks.hold("volume"):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    threading.Event().wait(0.001)
                    with guard:
                        inside -= 1
                    locks.forget("volume")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1
        assert list(tmp_path.iterdir()) == []

    def test_patience_ends(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path, patience=0)
        with locks.hold("volume"), pytest.raises(TimeoutError), locks.hold("volume"):
            pass

    def test_shared_holders_keep_a_lone_one_out(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path, patience=0)
        with locks.hold("commits", shared=True):
            with locks.hold("commits", shared=True):
                pass
            with pytest.raises(TimeoutError), locks.hold("commits"):
                pass
        with locks.hold("commits"):
            pass

    def test_different_names_do_not_meet(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path, patience=0)
        with locks.hold("one"), locks.hold("other"):
            pass


class TestJson:
    def test_a_write_that_fails_leaves_the_old_content(self, tmp_path: Path) -> None:
        path = tmp_path / "file.json"
        write_json(path, {"size": 1})
        with pytest.raises(TypeError):
            write_json(path, {"size": object()})
        assert read_json(path) == {"size": 1}
        write_json(path, {"size": 2})
        assert json.loads(path.read_text()) == {"size": 2}
        assert [one.name for one in tmp_path.iterdir()] == ["file.json"]

    def test_no_file_is_no_content(self, tmp_path: Path) -> None:
        assert read_json(tmp_path / "file.json") is None
