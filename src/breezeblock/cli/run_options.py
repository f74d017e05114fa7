"""What `breezeblock run` can be told on its command line, over what its configuration says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

FILE_VARIABLE = "BREEZEBLOCK_CONFIG"


class RunOptions(msgspec.Struct, frozen=True):
    """None is what was not said."""

    roles: tuple[str, ...] = ()
    data: Path | None = None
    file: Path | None = None
    listen: str | None = None
    port: int | None = None
    compute_port: int | None = None
    log_level: str | None = None


def plainly(words: Sequence[str]) -> RunOptions | None:
    """The options, where the words are nothing but roles and `--name value`.

    None for all else, mistakes and questions for help included: for those there is a whole command
    line (`commands.py`), which reads these the same.
    """
    said: dict[str, Any] = {"file": Path(file)} if (file := os.environ.get(FILE_VARIABLE)) else {}
    roles: list[str] = []
    seen: set[str] = set()
    rest = iter(words)
    for word in rest:
        if _ROLE.fullmatch(word):
            roles.append(word)
            continue
        value = next(rest, "")
        if word not in _OPTIONS or word in seen or not _VALUE.fullmatch(value):
            return None
        seen.add(word)
        name, read = _OPTIONS[word]
        try:
            said[name] = read(value)
        except ValueError:
            return None
    return RunOptions(tuple(roles), **said)


_ROLE = re.compile(r"[a-z][a-z-]*")
_VALUE = re.compile(r"[^-\s]\S*")
_OPTIONS: dict[str, tuple[str, Callable[[str], object]]] = {
    "--data": ("data", Path),
    "--config": ("file", Path),
    "--listen": ("listen", str),
    "--port": ("port", int),
    "--compute-port": ("compute_port", int),
    "--log-level": ("log_level", str),
}
