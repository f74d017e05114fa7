"""Writes down each statement that a process sends to SQLite, for `bench/workflow.py`.

Imported by every process of a deployment of `bench/shapes.py`, as `sitecustomize` beside the driver
that costs nothing; does nothing unless `BENCH_STATEMENTS` names a file. PostgreSQL has a log of its
own, which sees the same.
"""

from __future__ import annotations

import os
import sqlite3
import sqlite3.dbapi2
from pathlib import Path
from typing import Any


def count_into(path: str) -> None:
    """From now on each statement of each new connection is a line of the file."""
    # Open as long as the process lives. A line is whole, whichever thread writes it.
    lines = Path(path).open("a", buffering=1)  # noqa: SIM115
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda text: lines.write(" ".join(text.split()) + "\n"))
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced  # type: ignore[assignment]


if path := os.environ.get("BENCH_STATEMENTS"):
    count_into(path)
