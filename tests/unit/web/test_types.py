"""The types of body fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from breezeblock.model.errors import InvalidInput
from breezeblock.web import bodies
from breezeblock.web.types import (
    UNSET,
    Body,
    Bool,
    Count,
    Description,
    Metadata,
    MetadataOrNull,
    Name,
    RequiredName,
    Size,
    Text1,
    UnsetType,
    Uuid,
    schema_of_custom,
    timestamp,
)

ID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"


def read(kind: Any, value: object) -> Any:
    return bodies.decode(kind, msgspec.json.encode(value))


TRUE = [True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t"]
FALSE = [False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f"]

GOOD = [
    *[(Bool, value, True) for value in TRUE],
    *[(Bool, value, False) for value in FALSE],
    (Size, 1, 1),
    (Size, "12", 12),
    (Size, 2147483647, 2147483647),
    (Count, 0, 0),
    (Uuid, ID, ID),
    (Uuid, ID.upper(), ID),
    (Uuid, ID.replace("-", ""), ID),
    (Name, "  a b ", "a b"),
    (Name, "", ""),
    (Name, "x" * 255, "x" * 255),
    (RequiredName, " a ", "a"),
    (Description, "größer, 大き", "größer, 大き"),
    (Metadata, {"a-Z_0:. /": ""}, {"a-Z_0:. /": ""}),
    (MetadataOrNull, {"a": None}, {"a": None}),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_good_values_are_converted(kind: Any, value: object, expected: object) -> None:
    result = read(kind, value)
    assert result == expected
    assert type(result) is type(expected)


BAD = [
    *[(Bool, value) for value in ("Y", "T", "maybe", "", 1, 0, None, [])],
    *[(Size, value) for value in (0, -1, 1.0, 1.5, True, "", "1.0", "-1", "٣", 2147483648, None)],
    (Size, "9" * 5000),
    *[(Count, value) for value in (-1, "x")],
    *[(Uuid, value) for value in ("zz", "", ID[:-1], f"{ID}0", 5, None)],
    *[(Name, value) for value in ("x" * 256, 5, None, [])],
    *[(RequiredName, value) for value in ("", "   ")],
    *[(Description, value) for value in ("line\nbreak", "tab\t", "x" * 256, "\u2028", 5)],
    *[(Metadata, {key: "v"}) for key in ("", "a$", "a\n", "ä", "x" * 256)],
    *[(Metadata, {"a": value}) for value in (1, None, True, "x" * 256)],
    *[(Text1, value) for value in ("", "x" * 256)],
]


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_bad_values_are_refused(kind: Any, value: object) -> None:
    with pytest.raises(InvalidInput):
        read(kind, value)


def allows(kind: Any, value: object) -> bool:
    (schema,), parts = msgspec.json.schema_components([kind], schema_hook=schema_of_custom)
    judged = jsonschema_rs.Draft202012Validator({**schema, "$defs": parts})
    return bool(judged.is_valid(value))


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, value, _ in GOOD])
def test_the_schema_allows_what_is_converted(kind: Any, value: object) -> None:
    assert allows(kind, value)


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_the_schema_refuses_what_is_refused(kind: Any, value: object) -> None:
    in_words_alone = kind is Description and isinstance(value, str) and len(value) < 256
    to_json_an_integer = value == 1.0 and isinstance(value, float)
    assert allows(kind, value) is (in_words_alone or to_json_an_integer)


class Box(Body, frozen=True):
    name: Name | UnsetType | None = UNSET
    sizes: list[Size] = []


def test_missing_null_and_given_are_told_apart() -> None:
    assert read(Box, {}).name is UNSET
    assert read(Box, {"name": None}).name is None
    assert read(Box, {"name": "a"}).name == "a"


def test_the_message_names_the_place_inside_a_list() -> None:
    with pytest.raises(InvalidInput, match=r"field sizes\[1\]: must be a whole number"):
        read(Box, {"sizes": [1, 0]})


def test_times_have_microseconds_and_no_zone() -> None:
    assert timestamp(datetime(2026, 1, 31, 10, 20, 30)) == "2026-01-31T10:20:30.000000"  # noqa: DTZ001
    assert timestamp(None) is None
