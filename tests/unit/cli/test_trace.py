"""`breezeblock trace` where there is nothing to look at: it says which database, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.cli.operations import CANNOT_LOOK, trace
from breezeblock.store import schema
from breezeblock.store.store import Store
from tests.engines.process import free_port


def told(capsys: pytest.CaptureFixture[str], **options: Path) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        trace("req-1", **options)
    return ended.value.code, capsys.readouterr().out


def test_a_database_that_is_away_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    url = f"postgresql+psycopg://nobody:verysecret@{address}/none"
    monkeypatch.setenv("BREEZEBLOCK_DATABASE", url)
    code, line = told(capsys)
    assert code == CANNOT_LOOK
    assert f"{address}/none cannot be read: The database is not reachable" in line
    assert "Connection refused" in line and line.count("\n") == 1
    assert "verysecret" not in line and "There is no" not in line


def test_looking_makes_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = told(capsys, data=tmp_path)
    assert (code, line.startswith("There is no service's database at ")) == (CANNOT_LOOK, True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_known_is_another_thing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'breezeblock.sqlite'}", threads=1)
    schema.upgrade(store)
    store.close()
    assert told(capsys, data=tmp_path) == (1, "No operation of req-1 is known.\n")


def test_other_options_still_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --data, too: the database may be named there, or by a credential."""
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "database").write_text(f"postgresql+psycopg://nobody@{address}/none")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    code, line = told(capsys, data=tmp_path)
    assert code == CANNOT_LOOK
    assert address in line
