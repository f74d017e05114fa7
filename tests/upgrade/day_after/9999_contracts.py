"""What the release after that may do: remove what tomorrow's code does not use any more."""

from __future__ import annotations

from alembic import op

revision = "9999"
down_revision = "9998"
branch_labels = None
depends_on = None

oldest_code = "9998"


def upgrade() -> None:
    with op.batch_alter_table("volumes") as batch:
        batch.drop_column("description")
    op.drop_table("messages")


def downgrade() -> None:
    raise NotImplementedError
