"""The database's clock as an SQL expression, in seconds.

Leases and reports of many hosts are compared with each other, so they are all stamped by one clock:
the database's (design, law 5).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class db_now(FunctionElement[float]):  # noqa: N801 - reads like a function in statements
    """Seconds since 1970 by the database server's clock."""

    type = Float(53)
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::double precision"
