"""Who asked what, in which order: each request with its answer, without passwords."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec

from breezeblock.ontapsim.array import Array

HIDDEN = "********"


class Entry(msgspec.Struct, kw_only=True):
    """`status` is None while it is being answered, and 0 if nobody got the answer."""

    number: int
    time: float
    client: str
    user: str
    svm: str
    method: str
    path: str
    query: str
    body: Any = None
    status: int | None = None
    code: str = ""
    """Of the error in the answer."""


class Log:
    """Entries are numbered when they arrive, and kept in the state when they are answered."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._guard = threading.Lock()
        self._under_way: dict[int, Entry] = {}
        self._last = array.state.last_logged()

    def arrived(self, entry: Entry) -> None:
        with self._guard:
            self._last += 1
            entry.number = self._last
            entry.body = without_passwords(entry.body)
            self._under_way[entry.number] = entry

    def answered(self, entry: Entry, status: int, code: str = "") -> None:
        entry.status, entry.code = status, code
        with self._array.lock, self._guard:
            if self._under_way.pop(entry.number, None):
                self._array.state.log(entry.number, msgspec.json.encode(entry))

    def entries(self) -> list[Entry]:
        with self._array.lock, self._guard:
            done = [msgspec.json.decode(e, type=Entry) for e in self._array.state.logged()]
            return sorted([*done, *self._under_way.values()], key=lambda entry: entry.number)

    def clear(self) -> None:
        with self._array.lock, self._guard:
            self._array.state.clear_log()
            self._under_way.clear()


def without_passwords(body: Any) -> Any:
    if isinstance(body, dict):
        return {
            key: HIDDEN if "password" in key.lower() else without_passwords(value)
            for key, value in body.items()
        }
    return [without_passwords(item) for item in body] if isinstance(body, list) else body


def now() -> float:
    return time.time()
