"""Request bodies: from bytes to the Struct that a route declares, or a 400 that says where and why.

The application calls `decode` for plain routes; for routes that share a path by action it calls
`split_action` first, to learn which of them is meant.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from breezeblock.model.errors import InvalidInput, shortened
from breezeblock.web.types import decode_custom

MALFORMED = (
    "The server could not comply with the request since it is either malformed or incorrect."
)
_PLACE = re.compile(r" - at (`key` in )?`\$?([^`]*)`$")
_NULL_CHARACTER = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ECHO = re.compile(r"(Invalid enum value .|Object contains unknown field `)(.*)(['\"`])", re.DOTALL)
"""What msgspec says with a text of the client's in it."""
_WORDS = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "list",
    "uuid": "UUID",
}
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_RAW_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw]
)


def refuse_null_characters(raw: bytes) -> None:
    """Raises InvalidInput for a text with the character 0, which PostgreSQL cannot hold."""
    if b"\\u0000" in raw and _NULL_CHARACTER.search(raw):
        raise InvalidInput("A text in the body holds the null character.")


def decode(kind: Any, raw: bytes | msgspec.Raw, at: str = "") -> Any:
    """The body as `kind`; `at` is the name of the place in the document where it was found.

    Raises InvalidInput, whose message begins with the field, such as `volume.size`.
    """
    try:
        return _decoder(kind).decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(readable(str(error), at)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(MALFORMED) from None


def require_json(raw: bytes) -> None:
    """Raises InvalidInput when the bytes are no JSON object: for routes that ignore the content."""
    if not isinstance(decode(Any, raw), dict):
        raise InvalidInput(MALFORMED)


def split_action(raw: bytes) -> tuple[str, msgspec.Raw]:
    """The single key of an action's body, and the value under it, not yet decoded."""
    try:
        document = _RAW_OBJECT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(MALFORMED) from None
    if len(document) != 1:
        raise InvalidInput("The body of an action must have exactly one key, the action's name.")
    ((action, value),) = document.items()
    return action, value


def readable(problem: str, at: str = "") -> str:
    """msgspec's words, with the field first: `volume.size: expected integer, got text`."""
    match = _PLACE.search(problem)
    text = problem[: match.start()] if match else problem
    if echo := _ECHO.fullmatch(text):
        text = f"{echo[1]}{shortened(echo[2])}{echo[3]}"
    path = f"{at}{match[2]}" if match else at
    if match and match[1]:
        text = f"a key is not allowed here: {text}"
    elif match and match[2].endswith("[...]"):
        path = path.removesuffix("[...]")
        text = f"a value is not allowed here: {text}"
    text = re.sub(r"`([^`]*)`", lambda quoted: _plain(quoted[1]), text)
    return f"Invalid input for field {path.lstrip('.') or 'body'}: {text[:1].lower()}{text[1:]}"


def _plain(quoted: str) -> str:
    return " or ".join(_WORDS.get(word, word) for word in quoted.split(" | "))


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=decode_custom) if kind is not Any else _ANY
