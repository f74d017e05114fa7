"""What is noted comes back as it was, or is refused at once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from breezeblock.compute.block_storage import BlockStorageError, Volume
from breezeblock.model.errors import Failure, NotFound, OperationFailed
from breezeblock.model.servers import Flavor, ServerVolume, VolumeSource
from breezeblock.web import exact
from breezeblock.web.faults import Fault

MOMENT = datetime.fromisoformat("2026-01-02T03:04:05.678901")


def again(value: Any) -> Any:
    """Through the text of a JSON document and back."""
    return exact.decode(msgspec.json.decode(msgspec.json.encode(exact.encode(value))))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        1.5,
        1.0,
        0.1 + 0.2,
        "text",
        "dict",
        [],
        ["list", 1],
        (1, ("a", None)),
        {1, 2},
        frozenset({"a"}),
        {"a": [1], "object": {}},
        {1: "one", (2, 3): "two"},
        MOMENT,
        MOMENT.replace(tzinfo=UTC),
        msgspec.UNSET,
        Flavor(id="f", name="tiny", ram=1),
        Volume("v", 1, "available", project_id="p"),
        Failure("code", "message", retryable=True),
        ServerVolume(
            id="i",
            server_id="s",
            volume_id=None,
            source=VolumeSource(snapshot_id="s", size=None, volume_type=None),
            state="attaching",
            created_at=MOMENT,
        ),
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert again(value) == value
    assert type(again(value)) is type(value)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("Volume", "v"),
        OperationFailed(Failure("code", "message", cause="cause")),
        BlockStorageError(404, "no such volume"),
        Fault(409, "no", {"Retry-After": "5"}, plain=True),
    ],
    ids=repr,
)
def test_an_error_comes_back_as_it_was(error: Exception) -> None:
    back = again(error)
    assert (type(back), back.args, vars(back)) == (type(error), error.args, vars(error))


class Private(msgspec.Struct):
    value: int


@pytest.mark.parametrize(
    "value",
    [b"bytes", Decimal(1), float("nan"), object(), Private(1), RuntimeError("x"), [object()], int],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_exact_form_is_refused(value: Any) -> None:
    with pytest.raises(exact.Inexact):
        exact.encode(value)


@pytest.mark.parametrize(
    "name", ["os:system", "breezeblock.model.volumes:Gone", "breezeblock.gone:Volume"]
)
def test_a_type_that_is_not_here_is_not_made_up(name: str) -> None:
    with pytest.raises(exact.Inexact, match="not known"):
        exact.decode(["object", name, {}])
