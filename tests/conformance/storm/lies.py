"""Bodies, queries and headers that lie: what no generator that starts from a schema makes.

`bodies` spoils a true body in one place (a value, a key) or as a whole: characters that no database
holds, numbers that no column holds, depth, half documents, other encodings, other content types.
Everything is drawn from one random generator, so a seed names a storm.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

Path = tuple[str | int, ...]

VALUES = (
    "null",
    "true",
    "{}",
    "[]",
    "-1",
    "0",
    "1.5",
    "-0.0",
    "2147483648",
    "9223372036854775808",
    "1e400",
    "9" * 400,
    "NaN",
    "Infinity",
    '""',
    '" "',
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\udc00x"',
    '"\\ud83d\\ude00"',
    '"\\u202e\\u2028\\ufeff"',
    '"' + "x" * 256 + '"',
    '"' + "x" * 100_000 + '"',
    '"\\u0663"',
    '"1e3"',
    '" 1"',
    '"1\\n"',
    '"../../../etc/passwd"',
    '"\'; DROP TABLE volumes; --"',
    '"{{7*7}}%s%n${jndi:x}"',
    '{"": {"": [null]}}',
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
)
"""What a value may be instead, as it stands in the JSON text."""
KEYS = ("", "\0", "\ud800", "x" * 300, "__class__", "id", "project_id", "ключ", "a\nb")
"""What a key may be instead, or besides."""
QUERY_VALUES = (
    "",
    "%00",
    "%FF%FE",
    "%ED%A0%80",
    "-1",
    "0",
    "99999999999999999999",
    "9" * 400,
    "1.5",
    "True",
    "null",
    "None",
    "['a', None, 1e400]",
    "{'a': 1}",
    "{'\\x00': '\\ud800'}",
    "(" * 300 + ")" * 300,
    "[" * 99,
    "gt:9999-99-99",
    "gt:0001-01-01T00:00:00+23:59",
    "gt:2026-01-01,lt:",
    "name:sideways",
    "__class__",
    "%25_\\\\",
    "' OR 1=1 --",
    "ключ",
    "x" * 3000,
    "\u0663",
)
"""What stands behind the = of a query; percent signs as they are."""
HEADERS: Mapping[str, Sequence[bytes]] = {
    "OpenStack-API-Version": (
        b"volume",
        b"volume 3",
        b"volume 3.999",
        b"volume 2.0",
        b"volume 3.\xd9\xa3",
        b"volume 99999999999.1",
        b"compute 2.1",
        b"compute 2.1, volume 3.27",
        b"volume latest",
        b",",
        b"\xff\xfe",
        b"volume 3.27" * 100,
    ),
    "If-Match": (b"*", b'"x"', b'W/"x"', b"\xff", b'"', b'"a", "b"', b"x" * 5000),
    "Idempotency-Key": (b"", b" ", b"\xff", b"x" * 256, b"x" * 255, b"again", b"a b"),
    "X-OpenStack-Request-ID": (b"req-", b"\xff", b"req-" + b"0" * 36, b"x" * 5000),
    "Accept": (b"text/html", b"\xff", b"application/xml;q=x", b"*/*;q=nan"),
    "X-Forwarded-Host": (b'evil"<>', b"\xff", b",", b"a" * 3000),
    "X-Forwarded-Proto": (b"gopher", b"\xff", b"javascript"),
    "Content-Type": (
        b"text/plain",
        b"application/xml",
        b"application/json; charset=utf-16",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/vnd.openstack.volume+json",
        b"\xff",
        b"/",
        b"application/json, text/plain",
    ),
    "Content-Encoding": (b"gzip", b"br"),
}


class Lie(NamedTuple):
    """What is said instead of the truth. `body` None: the true one."""

    about: str
    body: bytes | None = None
    query: str = ""
    headers: Mapping[str, str | bytes] = {}


def bodies(true: Any, dice: random.Random, number: int) -> Iterator[Lie]:
    """`number` lies about a body, as many of them spoiled in one place as as a whole."""
    places = list(_places(true))
    for _ in range(number):
        kind = dice.randrange(4)
        if kind == 0 or not places:
            yield _whole(json.dumps(true).encode(), dice)
        elif kind == 1:
            yield _other_key(true, dice.choice(places), dice)
        else:
            place, value = dice.choice(places), dice.choice(VALUES)
            text = json.dumps(_replaced(true, place, _MARK)).replace(json.dumps(_MARK), value)
            yield Lie(f"{_name(place)} = {value[:60]}", text.encode())


def queries(names: Sequence[str], dice: random.Random, number: int) -> Iterator[Lie]:
    """`number` lies in a query that has these parameters, and some it has not."""
    for _ in range(number):
        some = [dice.choice([*names, "unknown", "name~", "ключ", "a[b]", ""]) for _ in range(2)]
        query = "&".join(f"{quote(name)}={_escaped(dice.choice(QUERY_VALUES))}" for name in some)
        yield Lie(f"?{query[:200]}", query=query)


def headers(dice: random.Random, number: int) -> Iterator[Lie]:
    """`number` lies in a header."""
    for _ in range(number):
        name = dice.choice(list(HEADERS))
        value = dice.choice(HEADERS[name])
        yield Lie(f"{name}: {value[:60]!r}", headers={name: value})


_MARK = "here is the lie"


def _escaped(value: str) -> str:
    """The value with its own percent signs; the rest as an URL needs it."""
    return quote(value, safe="%")


def _places(document: Any, at: Path = ()) -> Iterator[Path]:
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*at, key))
    if isinstance(document, list):
        for number, value in enumerate(document[:3]):
            yield from _places(value, (*at, number))


def _name(place: Path) -> str:
    return ".".join(str(step)[:40] for step in place) or "body"


def _replaced(document: Any, place: Path, value: Any) -> Any:
    if not place:
        return value
    step, rest = place[0], place[1:]
    if isinstance(document, dict):
        return {
            key: _replaced(item, rest, value) if key == step else item
            for key, item in document.items()
        }
    return [
        _replaced(item, rest, value) if number == step else item
        for number, item in enumerate(document)
    ]


def _other_key(true: Any, place: Path, dice: random.Random) -> Lie:
    """One key more in the object at the place, or a known one twice."""
    found: Any = true
    for step in place:
        found = found[step]
    key = dice.choice(KEYS)
    if not isinstance(found, dict):
        return Lie(
            f"{_name(place)} = {{{key!r}: …}}",
            json.dumps(_replaced(true, place, {key: found})).encode(),
        )
    more = {**found, key: dice.choice([None, 1, "x", {}])}
    return Lie(
        f"{_name(place)} also has {key[:40]!r}", json.dumps(_replaced(true, place, more)).encode()
    )


def _whole(true: bytes, dice: random.Random) -> Lie:
    spoiled: tuple[tuple[str, bytes], ...] = (
        ("no body", b""),
        ("null", b"null"),
        ("a list", b"[" + true + b"]"),
        ("a text", json.dumps(true.decode()).encode()),
        ("half of it", true[: len(true) // 2]),
        ("it and more", true + b"x"),
        ("it twice", true + true),
        ("a comma too many", true[:-1] + b",}"),
        ("a byte order mark", b"\xef\xbb\xbf" + true),
        ("UTF-16", true.decode().encode("utf-16")),
        ("no UTF-8", true[:-1] + b'"\xff": 1}'),
        ("single quotes", true.replace(b'"', b"'")),
        ("a comment", b"/* */" + true),
        ("its keys twice", true[:-1] + b"," + true[1:] if len(true) > 2 else true),
        ("deep", b"[" * 50_000 + b"]" * 50_000),
        ("deep objects", b'{"volume":' * 10_000),
        ("too large", b'{"volume":"' + b"x" * 120_000 + b'"}'),
        ("zeros", b"\0" * 100),
        ("XML", b'<?xml version="1.0"?><volume size="1"/>'),
    )
    about, body = dice.choice(spoiled)
    return Lie(f"body: {about}", body)
