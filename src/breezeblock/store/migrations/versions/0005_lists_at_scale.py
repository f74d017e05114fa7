"""Indexes for the orders and filters of lists, and for periodic work, with any number of rows.

Built in the migrations' one transaction, not CONCURRENTLY: that cannot be part of a transaction,
and what it leaves behind when it fails is an index that costs at each write and is never used.
While they are built (half a minute for a million volumes) lists are served, and what writes waits.
Those that are dropped have a successor that begins with the same column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = (
    ("ix_volumes_project_status", "volumes", ["project_id", "status", "created_at", "id"]),
    ("ix_volumes_status", "volumes", ["status", "created_at", "id"]),
    ("ix_volumes_project_name", "volumes", ["project_id", "name", "created_at", "id"]),
    ("ix_volumes_name", "volumes", ["name", "created_at", "id"]),
    ("ix_snapshots_created", "snapshots", ["created_at", "id"]),
    ("ix_snapshots_project_status", "snapshots", ["project_id", "status", "created_at", "id"]),
    ("ix_snapshots_status", "snapshots", ["status", "created_at", "id"]),
    ("ix_snapshots_project_name", "snapshots", ["project_id", "name", "created_at", "id"]),
    ("ix_snapshots_name", "snapshots", ["name", "created_at", "id"]),
    ("ix_attachments_created", "attachments", ["created_at", "id"]),
    ("ix_messages_created", "messages", ["created_at", "id"]),
    ("ix_messages_request", "messages", ["request_id"]),
    ("ix_messages_expires", "messages", ["expires_at"]),
    ("ix_servers_created", "servers", ["created_at", "id"]),
)
BY_PREFIX = (
    ("ix_volumes_placed", "volumes", ["host", "created_at", "id", "size"]),
    ("ix_operations_work_on", "operations", ["resource_id"]),
)
DROPPED = (
    ("ix_volumes_host", "volumes", ["host"]),
    ("ix_operations_resource", "operations", ["resource_id"]),
)
ANSWERS = sa.text("workflow = 'list_manageable'")


def upgrade() -> None:
    for name, table, columns in ADDED:
        op.create_index(name, table, columns)
    for name, table, columns in BY_PREFIX:
        op.create_index(name, table, columns, postgresql_ops={columns[0]: "text_pattern_ops"})
    op.create_index(
        "ix_operations_answers",
        "operations",
        ["ended_at"],
        sqlite_where=ANSWERS,
        postgresql_where=ANSWERS,
    )
    for name, table, _ in DROPPED:
        op.drop_index(name, table)


def downgrade() -> None:
    for name, table, columns in DROPPED:
        op.create_index(name, table, columns)
    op.drop_index("ix_operations_answers", "operations")
    for name, table, _ in (*ADDED, *BY_PREFIX):
        op.drop_index(name, table)
