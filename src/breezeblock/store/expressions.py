"""SQL that the two kinds of database spell differently, as expressions for statements.

What answers show can be had from the database in the form that clients read (times, JSON), so that
a list of a thousand rows is not taken apart and put together again.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class begins(FunctionElement[bool]):  # noqa: N801 - reads like a function in statements
    """Whether a text begins with another one, so that an index on the column is used.

    On SQLite LIKE is blind to case and uses no index; on PostgreSQL an order of texts is a
    language's, in which those that begin alike are not neighbours: the index needs the operators
    of patterns (`text_pattern_ops`).
    """

    type = sa.Boolean()
    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[str], text: str) -> None:
        plain = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        behind = text[:-1] + chr(ord(text[-1]) + 1)
        super().__init__(column, *map(sa.literal, (text, behind, f"{plain}%")))

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002 - as it is called
        """A condition as it stands: compared with 1 it would use no index."""
        return self


@compiles(begins, "sqlite")
def _sqlite_begins(element: Any, compiler: Any, **how: Any) -> str:
    column, text, behind = (compiler.process(one, **how) for one in list(element.clauses)[:3])
    return f"({column} >= {text} AND {column} < {behind})"


@compiles(begins, "postgresql")
def _postgresql_begins(element: Any, compiler: Any, **how: Any) -> str:
    column, _, _, pattern = element.clauses
    return f"{compiler.process(column, **how)} LIKE {compiler.process(pattern, **how)}"


class time_text(FunctionElement[str]):  # noqa: N801 - reads like a function in statements
    """A time as clients read it: with microseconds, without zone (`web.types.timestamp`)."""

    type = sa.String()
    inherit_cache = True


@compiles(time_text, "sqlite")
def _sqlite_time(element: Any, compiler: Any, **how: Any) -> str:
    return f"replace({compiler.process(element.clauses, **how)}, ' ', 'T')"


@compiles(time_text, "postgresql")
def _postgresql_time(element: Any, compiler: Any, **how: Any) -> str:
    column = compiler.process(element.clauses, **how)
    return f"to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"


class json_rows(FunctionElement[str]):  # noqa: N801 - reads like a function in statements
    """All rows as one JSON text, an array a row; without rows null, or an empty array."""

    type = sa.String()
    inherit_cache = True


@compiles(json_rows, "sqlite")
def _sqlite_rows(element: Any, compiler: Any, **how: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **how)}))"


@compiles(json_rows, "postgresql")
def _postgresql_rows(element: Any, compiler: Any, **how: Any) -> str:
    columns = compiler.process(element.clauses, **how)
    return f"CAST(json_agg(json_build_array({columns})) AS TEXT)"
