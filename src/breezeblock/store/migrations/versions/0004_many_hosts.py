"""What a service of many processes needs to know of each of them; answers that are sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("idempotency_keys") as batch_op:
        batch_op.add_column(sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.create_table(
        "service_processes",
        sa.Column("binary", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("process", sa.String(length=255), nullable=False),
        sa.Column("works", sa.Boolean(), nullable=False),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("binary", "host", "process", name=op.f("pk_service_processes")),
    )


def downgrade() -> None:
    op.drop_table("service_processes")
    with op.batch_alter_table("idempotency_keys") as batch_op:
        batch_op.drop_column("sealed")
