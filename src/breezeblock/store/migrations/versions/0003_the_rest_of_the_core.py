"""QoS specs, encryption and default types, transfers; progress of operations, log levels."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _times() -> list[sa.Column[datetime]]:
    return [
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "default_volume_types",
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("volume_type_id", sa.String(length=36), nullable=False),
        *_times(),
        sa.ForeignKeyConstraint(
            ["volume_type_id"],
            ["volume_types.id"],
            name=op.f("fk_default_volume_types_volume_type_id"),
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_default_volume_types")),
    )
    op.create_index("ix_default_volume_types_type", "default_volume_types", ["volume_type_id"])
    op.create_table(
        "encryptions",
        sa.Column("encryption_id", sa.String(length=36), nullable=False),
        sa.Column("volume_type_id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("control_location", sa.String(length=16), nullable=False),
        sa.Column("cipher", sa.String(length=255), nullable=True),
        sa.Column("key_size", sa.Integer(), nullable=True),
        *_times(),
        sa.ForeignKeyConstraint(
            ["volume_type_id"],
            ["volume_types.id"],
            name=op.f("fk_encryptions_volume_type_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("encryption_id", name=op.f("pk_encryptions")),
        sa.UniqueConstraint("volume_type_id", name=op.f("uq_encryptions_volume_type_id")),
    )
    op.create_table(
        "qos_specs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("consumer", sa.String(length=16), nullable=False),
        sa.Column("specs", sa.JSON(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qos_specs")),
        sa.UniqueConstraint("name", name=op.f("uq_qos_specs_name")),
    )
    op.create_table(
        "transfers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("auth_key_hash", sa.String(length=128), nullable=False),
        sa.Column("no_snapshots", sa.Boolean(), nullable=False),
        sa.Column("source_project_id", sa.String(length=255), nullable=False),
        sa.Column("destination_project_id", sa.String(length=255), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("volume_id", name=op.f("uq_transfers_volume_id")),
    )
    op.create_index("ix_transfers_project", "transfers", ["source_project_id", "created_at", "id"])
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("progress", sa.Integer(), nullable=True))
    with op.batch_alter_table("services", schema=None) as batch_op:
        batch_op.add_column(sa.Column("log_level", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("log_level_wanted", sa.String(length=16), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("services", schema=None) as batch_op:
        batch_op.drop_column("log_level_wanted")
        batch_op.drop_column("log_level")
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.drop_column("progress")
    op.drop_table("transfers")
    op.drop_table("qos_specs")
    op.drop_table("encryptions")
    op.drop_table("default_volume_types")
