"""Types of body fields that JSON alone does not have, for the Structs of request bodies.

The resource files of an API annotate their fields with them; `web.bodies` decodes. To mypy `Bool`
is `bool`, `Size` is `int` and `Uuid`, `Name`, `Description` are `str`: that is what the handler
finds in the field. At run time each is a marker that msgspec hands to `convert`.

A field that may be missing or null is written `name: Name | UnsetType | None = UNSET`.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "UNSET",
    "Body",
    "Bool",
    "Count",
    "Description",
    "LooseBody",
    "Metadata",
    "Name",
    "RequiredName",
    "Size",
    "Text",
    "Text1",
    "UnsetType",
    "Uuid",
    "decode_custom",
    "schema_of_custom",
    "timestamp",
]

MAX_INT = 2_147_483_647
_TRUE = ("True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t")
_FALSE = ("False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f")
_BOOLEANS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_DIGITS = re.compile(r"[0-9]{1,32}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Body(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of request bodies; unknown keys are refused."""


class LooseBody(Struct, frozen=True, omit_defaults=True):
    """Base of request bodies whose unknown keys are ignored."""


class _Marker(type):
    """Lets the converted value (a bool, an int, a str) pass as an instance of its marker."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


class _Custom(metaclass=_Marker):
    schema: ClassVar[dict[str, Any]]

    @classmethod
    def convert(cls, value: Any) -> Any:
        """The field's value; raises ValueError with a text that follows the field's name."""
        raise NotImplementedError


class _Bool(_Custom):
    schema = {"anyOf": [{"type": "boolean"}, {"type": "string", "enum": [*_TRUE, *_FALSE]}]}

    @classmethod
    def convert(cls, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in _BOOLEANS:
            return _BOOLEANS[value]
        raise ValueError("must be a boolean (true or false)")


class _Integer(_Custom):
    minimum: ClassVar[int]

    @classmethod
    def convert(cls, value: Any) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if type(value) is not int or not cls.minimum <= value <= MAX_INT:
            raise ValueError(f"must be a whole number from {cls.minimum} to {MAX_INT}")
        return value


def _integer_schema(minimum: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": minimum, "maximum": MAX_INT}
    digits = f"^0*({_digits_of_positives_up_to(MAX_INT)}{'' if minimum else '|0'})$"
    return {"anyOf": [number, {"type": "string", "maxLength": 32, "pattern": digits}]}


def _digits_of_positives_up_to(maximum: int) -> str:
    """A regular expression for the numbers from 1 to this one: the shorter ones, then those that
    are smaller by the first digit, by the second, and so on, then the number itself."""
    text = str(maximum)
    smaller = [f"[1-9][0-9]{{0,{len(text) - 2}}}"]
    for place, digit in enumerate(text):
        lowest, highest = (0 if place else 1), int(digit) - 1
        if lowest <= highest:
            smaller.append(f"{text[:place]}[{lowest}-{highest}][0-9]{{{len(text) - place - 1}}}")
    return "|".join([*smaller, text])


class _Size(_Integer):
    minimum = 1
    schema = _integer_schema(1)


class _Count(_Integer):
    minimum = 0
    schema = _integer_schema(0)


class _Uuid(_Custom):
    schema = {
        "type": "string",
        "description": "A UUID; capitals, and hyphens anywhere or nowhere, are understood",
        "pattern": "^-*([0-9a-fA-F]-*){32}$",
    }

    @classmethod
    def convert(cls, value: Any) -> str:
        text = value.lower().replace("-", "") if isinstance(value, str) else ""
        if not _HEX.fullmatch(text):
            raise ValueError("must be a UUID")
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Name(_Custom):
    minimum: ClassVar[int] = 0
    schema = {"type": "string", "maxLength": 255}

    @classmethod
    def convert(cls, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        text = value.strip()
        if not cls.minimum <= len(text) <= 255:
            raise ValueError(f"must have {cls.minimum} to 255 characters")
        return text


class _RequiredName(_Name):
    minimum = 1
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"}


class _Description(_Custom):
    schema = {"type": "string", "maxLength": 255, "description": "Printable characters alone"}

    @classmethod
    def convert(cls, value: Any) -> str:
        if not isinstance(value, str) or len(value) > 255 or not all(map(_is_printable, value)):
            raise ValueError("must be text of up to 255 printable characters")
        return value


def _is_printable(char: str) -> bool:
    category = unicodedata.category(char)
    return not category.startswith("C") and category not in ("Zl", "Zp")


if TYPE_CHECKING:
    Bool = bool
    Size = int
    Count = int
    Uuid = str
    Name = str
    RequiredName = str
    Description = str
else:
    Bool = _Bool
    Size = _Size
    Count = _Count
    Uuid = _Uuid
    Name = _Name
    RequiredName = _RequiredName
    Description = _Description

Text = Annotated[str, Meta(max_length=255)]
Text1 = Annotated[str, Meta(min_length=1, max_length=255)]
# The end is not written as $, which Python also finds before a last line break.
MetadataKey = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9\-_:. /]{1,255}(?![\s\S])")]
Metadata = dict[MetadataKey, Text]
MetadataOrNull = dict[MetadataKey, Text | None]


def decode_custom(kind: Any, value: Any) -> Any:
    """msgspec's hook for the markers above."""
    if isinstance(kind, type) and issubclass(kind, _Custom):
        return kind.convert(value)
    raise TypeError(f"{kind!r} is not a type of request bodies")


def schema_of_custom(kind: type) -> dict[str, Any]:
    """The JSON schema of a marker, for the OpenAPI document."""
    if issubclass(kind, _Custom):
        return kind.schema
    raise NotImplementedError(kind)


def timestamp(moment: datetime | None) -> str | None:
    """A time as clients expect it: UTC, microseconds, no zone. The moment has no zone either."""
    return moment.isoformat(timespec="microseconds") if moment is not None else None
