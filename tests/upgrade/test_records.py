"""Work that one release has begun is ended by the other: records and wake-ups, read both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from breezeblock.operations.wakes import parse_wake, wake_body
from tests.upgrade.described import described
from tests.upgrade.records import stumbles
from tests.upgrade.releases import HERE, Release, previous


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous(tmp_path_factory.mktemp("previous"))


def output(old: Release, *program: str, given: bytes = b"") -> Any:
    """What a program prints (JSON) in the previous release's environment."""
    done = subprocess.run(
        [sys.executable, *program],
        env={**os.environ, **old.environment},
        capture_output=True,
        check=True,
        input=given,
    )
    return json.loads(done.stdout)


def test_either_release_goes_on_with_the_other_s_operations(old: Release, tmp_path: Path) -> None:
    program = tmp_path / "described.py"  # alone in its folder: no module of ours stands beside it
    program.write_bytes((HERE / "described.py").read_bytes())
    before = output(old, str(program))
    assert "create_volume" in before
    assert stumbles(before, described()) == []


def test_either_release_reads_the_other_s_wake_ups(old: Release) -> None:
    reads = "import sys, json; from breezeblock.operations.wakes import parse_wake, wake_body; "
    mine = "print(json.dumps(parse_wake(sys.stdin.buffer.read())))"
    assert output(old, "-c", reads + mine, given=wake_body("an-id")) == "an-id"
    theirs = "print(json.dumps(wake_body('their-id').decode()))"
    assert parse_wake(output(old, "-c", reads + theirs).encode()) == "their-id"


class Part(msgspec.Struct):
    name: str


class Data(msgspec.Struct):
    volume: str
    parts: tuple[Part, ...] = ()


def release(data: type[msgspec.Struct], *steps: str) -> dict[str, Any]:
    return {"toy": {"steps": list(steps), "data": msgspec.json.schema(data)}}


OLD = release(Data, "one", "two")


def test_what_may_be_added_is_no_stumbling_block() -> None:
    class Part(msgspec.Struct):
        name: str
        colour: str = ""

    class Data(msgspec.Struct):
        volume: str
        parts: tuple[Part, ...] = ()
        more: int | None = None

    new = release(Data, "one", "between", "two")
    assert stumbles(OLD, {**new, "another": new["toy"]}) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            [("volume", str), ("who", str), ("parts", tuple[Part, ...], ())],
            "data.who: the new release needs it, the old one does not write it",
        ),
        (
            [("parts", tuple[Part, ...], ())],
            "data.volume: the old release needs it, the new one does not write it",
        ),
        (
            [("volume", int), ("parts", tuple[Part, ...], ())],
            "data.volume.type was 'string', is 'integer'",
        ),
        (
            [("volume", str), ("parts", tuple[str, ...], ())],
            "data.parts.items.name: the old release needs it, the new one does not write it",
        ),
    ],
)
def test_what_either_could_not_read_is_seen(fields: list[Any], said: str) -> None:
    found = stumbles(OLD, release(msgspec.defstruct("Data", fields), "one", "two"))
    assert f"toy: {said}" in found


def test_steps_and_workflows_that_are_gone_are_seen() -> None:
    assert stumbles(OLD, {}) == ["toy: the new release does not know it"]
    (said,) = stumbles(OLD, release(Data, "two", "one"))
    assert said == "toy: steps were ['one', 'two'], are ['two', 'one']"
