"""Whatever fails says what happened, why, and what would help."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import breezeblock
from breezeblock.compute import explain as compute
from breezeblock.compute.block_storage import BlockStorageError
from breezeblock.compute.hypervisor import GuestNotFound, HostError
from breezeblock.drivers.base import PermanentError
from breezeblock.model import errors
from breezeblock.model.errors import Failure
from breezeblock.operations.explain import explain, of_driver

SOURCES = Path(breezeblock.__file__).parent

REFUSALS = [
    errors.InvalidInput("bad"),
    errors.InvalidState("Volume 1 has changed its status meanwhile."),
    errors.NotFound("Volume", "1"),
    errors.Forbidden("no"),
    errors.Conflict("Another operation on volume 1 is under way."),
    errors.OverQuota("VolumeLimitExceeded: 10 volumes."),
    errors.Unavailable("away"),
]


def _is_whole(failure: object) -> bool:
    return isinstance(failure, Failure) and all(
        (failure.code, failure.message, failure.cause, failure.remedy)
    )


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_rule_that_is_broken_late_says_why(error: Exception) -> None:
    assert _is_whole(explain(error))


@pytest.mark.parametrize("error", [PermanentError(""), PermanentError("full"), KeyError("x")])
def test_a_driver_that_fails_says_why(error: Exception) -> None:
    assert _is_whole(of_driver(error))


@pytest.mark.parametrize(
    "error",
    [
        HostError("QEMU did not start."),
        GuestNotFound("This host has no guest 1."),
        BlockStorageError(400, "The volume is in use."),
        BlockStorageError(0, "connection refused"),
        ValueError("a bug"),
        *REFUSALS,
    ],
    ids=lambda error: type(error).__name__,
)
def test_work_on_a_server_that_fails_says_why(error: Exception) -> None:
    assert _is_whole(compute.final(error))


def test_what_a_user_is_told_reads_as_sentences() -> None:
    failure = explain(errors.NotFound("Snapshot", "1"))
    assert isinstance(failure, Failure)
    assert failure.text == (
        "Snapshot 1 could not be found. It was deleted after the request was accepted. Nothing "
        "needs to be done if that was intended; otherwise make it again and repeat the request."
    )


def test_every_failure_in_the_code_names_cause_and_remedy() -> None:
    lacking = [
        f"{path.relative_to(SOURCES)}:{call.lineno}"
        for path in sorted(SOURCES.rglob("*.py"))
        for call in _failures(ast.parse(path.read_text()))
        if not _names_all(call)
    ]
    assert lacking == []


def _failures(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Failure":
            yield node


def _names_all(call: ast.Call) -> bool:
    """By name, by position (code, message, cause, remedy), or taken over from a row."""
    given = {keyword.arg for keyword in call.keywords}
    return None in given or len(call.args) >= 4 or {"cause", "remedy"} <= given
