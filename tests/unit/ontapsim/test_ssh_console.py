"""The simulator's console: which commands it knows, and what it says without paramiko."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest

from breezeblock.ontapsim.dispatch import Dispatcher
from breezeblock.ontapsim.ssh_console import (
    CommandError,
    NoConsoleError,
    SetCredential,
    serve_console,
)

HOST = "iqn.2026-01.tests:alice"
LINE = f"iscsi security create -vserver svm1 -initiator-name {HOST} -auth-type CHAP -user-name joe"


def test_a_new_secret() -> None:
    command = SetCredential.parse(LINE)
    assert command == SetCredential(True, "svm1", HOST, "chap", "joe")
    assert command.body("s3cret") == {
        "svm": {"name": "svm1"},
        "initiator": HOST,
        "authentication_type": "chap",
        "chap": {"inbound": {"user": "joe", "password": "s3cret"}},
    }


def test_another_secret_for_one_that_is_there() -> None:
    command = SetCredential.parse(LINE.replace("create", "modify"))
    assert command.body("s3cret") == {
        "authentication_type": "chap",
        "chap": {"inbound": {"user": "joe", "password": "s3cret"}},
    }


def test_no_password_is_asked_where_there_is_none() -> None:
    line = f"iscsi security modify -vserver svm1 -initiator-name {HOST} -auth-type deny"
    command = SetCredential.parse(line)
    assert not command.needs_password
    assert command.body("") == {"authentication_type": "deny"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "volume show",
        "iscsi security delete -vserver svm1",
        "iscsi security create",
        "iscsi security create -vserver",
        "iscsi security create -vserver 'svm1",
        LINE + " -more x",
        LINE.replace(" -user-name joe", ""),
        LINE.replace("-vserver svm1 ", ""),
    ],
)
def test_what_is_no_command(line: str) -> None:
    with pytest.raises(CommandError):
        SetCredential.parse(line)


def test_without_paramiko_there_is_no_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    nobody = cast(Dispatcher, None)
    with (
        pytest.raises(NoConsoleError, match="needs paramiko"),
        serve_console(nobody, tmp_path, ("127.0.0.1", 0)),
    ):
        pass
    with serve_console(nobody, tmp_path, None):
        assert list(tmp_path.iterdir()) == []
