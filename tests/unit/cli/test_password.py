"""`breezeblock password`: a hash, or a line of the users' file."""

from __future__ import annotations

import io
import sys

import pytest

from breezeblock.auth.passwords import HASH, parse_users, project_of
from breezeblock.cli.password import password


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is typed: a password, if the test says nothing else."""
    text = io.StringIO("s3cret\n")
    monkeypatch.setattr(sys, "stdin", text)
    return text


def test_a_password_becomes_a_hash(typed: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    password()
    assert HASH.fullmatch(capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    ("options", "project", "roles"),
    [
        ({}, project_of("ada"), {"member"}),
        ({"project": "p1"}, "p1", {"member"}),
        ({"roles": "admin,service"}, project_of("ada"), {"admin", "service"}),
    ],
)
def test_a_name_makes_a_line_of_the_users_file(
    typed: io.StringIO,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    project: str,
    roles: set[str],
) -> None:
    password("ada", **options)
    (ada,) = parse_users(capsys.readouterr().out)
    assert (ada.name, ada.project_id, ada.roles) == ("ada", project, roles)


@pytest.mark.parametrize(
    ("name", "project", "text"),
    [("", "", "\n"), ("", "", "x" * 73), ("a:b", "", "s3cret\n"), ("", "p1", "s3cret\n")],
)
def test_what_cannot_be_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    project: str,
    text: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as ended:
        password(name, project=project)
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("breezeblock: ")
