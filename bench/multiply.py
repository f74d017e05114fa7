"""Makes many volumes of one, in the database itself: for lists, in ours and in Cinder's alike.

    python bench/multiply.py DATABASE-URL VOLUME-ID COUNT     # 0: remove them again

It needs SQLAlchemy alone, so it runs in either system's environment. The new rows are the volume's
with an id of their own and a creation time a second earlier each.
"""

from __future__ import annotations

import sys
import uuid
from datetime import timedelta

import sqlalchemy as sa

MADE = "bec0bec0"
"""What the ids of the new ones begin with."""
AT_ONCE = 1000


def multiply(url: str, volume: str, count: int) -> None:
    engine = sa.create_engine(url)
    volumes = sa.Table("volumes", sa.MetaData(), autoload_with=engine, resolve_fks=False)
    with engine.begin() as connection:
        if not count:
            connection.execute(volumes.delete().where(volumes.c.id.like(f"{MADE}-%")))
            return
        found = connection.execute(volumes.select().where(volumes.c.id == volume)).one()
        rows = [
            {
                **found._asdict(),
                "id": MADE + str(uuid.uuid4())[8:],
                "created_at": found.created_at - timedelta(seconds=number),
            }
            for number in range(1, count + 1)
        ]
        for first in range(0, count, AT_ONCE):
            connection.execute(volumes.insert(), rows[first : first + AT_ONCE])


if __name__ == "__main__":
    multiply(sys.argv[1], sys.argv[2], int(sys.argv[3]))
