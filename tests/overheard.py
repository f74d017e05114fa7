"""What a store asks a SQLite database, for tests that count questions or look for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from breezeblock.store.links import Answer
from breezeblock.store.sqlite import SqliteLink


@contextmanager
def overheard() -> Iterator[list[str]]:
    """A list that grows by the text of each statement, of any store, until the block ends."""
    texts: list[str] = []
    ask = SqliteLink.ask

    def noted(link: SqliteLink, text: str, values: Sequence[Any], *, first: bool = False) -> Answer:
        texts.append(text)
        return ask(link, text, values, first=first)

    with patch.object(SqliteLink, "ask", noted):
        yield texts
