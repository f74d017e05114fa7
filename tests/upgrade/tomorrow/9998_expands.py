"""What a coming release may do: a column that may be left out, one with a default, a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from breezeblock.store import schema

revision = "9998"
down_revision = schema.Migrations((schema.MIGRATIONS / "versions",)).head
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tomorrow_things",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tomorrow_things")),
    )
    for table in ("volumes", "operations", "attachments", "snapshots", "services"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("tomorrow_note", sa.String(length=255), nullable=True))
            batch.add_column(
                sa.Column("tomorrow_count", sa.Integer(), nullable=False, server_default="0")
            )
            batch.create_index(f"ix_{table}_tomorrow_count", ["tomorrow_count"])


def downgrade() -> None:
    raise NotImplementedError
