"""The tables. The truth of the whole service stands in them (design, law 1).

Kept portable between SQLite and PostgreSQL: plain types, JSON columns, partial unique indexes.
Times that users see are UTC without zone; times that leases and reports compare (`…_at` as float)
are seconds by the database's own clock, so that hosts with wrong clocks cannot steal work.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

OPEN = "open"


def _id() -> Column[str]:
    return Column("id", String(36), primary_key=True)


def _owner() -> list[Column[str]]:
    return [
        Column("project_id", String(255), nullable=False),
        Column("user_id", String(255), nullable=False),
    ]


def _times() -> list[Column[datetime]]:
    return [
        Column("created_at", DateTime, nullable=False),
        Column("updated_at", DateTime),
    ]


def _by_prefix(name: str, column: str, *further: str) -> Index:
    """An index that also finds texts by how they begin (`store/expressions.py`)."""
    return Index(name, column, *further, postgresql_ops={column: "text_pattern_ops"})


volume_types = Table(
    "volume_types",
    metadata,
    _id(),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False, default=True),
    Column("extra_specs", JSON, nullable=False, default=dict),
    Column("qos_specs_id", String(36)),
    *_times(),
)

volume_type_projects = Table(
    "volume_type_projects",
    metadata,
    Column("volume_type_id", ForeignKey("volume_types.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", String(255), primary_key=True),
)

default_volume_types = Table(
    "default_volume_types",
    metadata,
    Column("project_id", String(255), primary_key=True),
    Column("volume_type_id", ForeignKey("volume_types.id"), nullable=False),
    *_times(),
    Index("ix_default_volume_types_type", "volume_type_id"),
)

encryptions = Table(
    "encryptions",
    metadata,
    Column("encryption_id", String(36), primary_key=True),
    Column(
        "volume_type_id",
        ForeignKey("volume_types.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    Column("provider", String(255), nullable=False),
    Column("control_location", String(16), nullable=False),
    Column("cipher", String(255)),
    Column("key_size", Integer),
    *_times(),
)

qos_specs = Table(
    "qos_specs",
    metadata,
    _id(),
    Column("name", String(255), nullable=False, unique=True),
    Column("consumer", String(16), nullable=False),
    Column("specs", JSON, nullable=False, default=dict),
    *_times(),
)

volumes = Table(
    "volumes",
    metadata,
    _id(),
    *_owner(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("size", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("previous_status", String(32)),
    Column("attach_status", String(32), nullable=False, default="detached"),
    Column("migration_status", String(255)),
    Column("availability_zone", String(255)),
    Column("host", String(255)),
    Column("service_uuid", String(36)),
    Column("volume_type_id", ForeignKey("volume_types.id"), nullable=False),
    Column("snapshot_id", String(36)),
    Column("source_volid", String(36)),
    Column("bootable", Boolean, nullable=False, default=False),
    Column("multiattach", Boolean, nullable=False, default=False),
    Column("readonly", Boolean),
    Column("shared_targets", Boolean, nullable=False, default=False),
    Column("encryption_key_id", String(36)),
    Column("replication_status", String(32)),
    Column("provider_id", String(255)),
    Column("group_id", String(36)),
    Column("consumes_quota", Boolean, nullable=False, default=True),
    Column("metadata", JSON, nullable=False, default=dict),
    Column("image_metadata", JSON, nullable=False, default=dict),
    *_times(),
    Index("ix_volumes_project", "project_id", "created_at", "id"),
    Index("ix_volumes_created", "created_at", "id"),
    Index("ix_volumes_project_status", "project_id", "status", "created_at", "id"),
    Index("ix_volumes_status", "status", "created_at", "id"),
    Index("ix_volumes_project_name", "project_id", "name", "created_at", "id"),
    Index("ix_volumes_name", "name", "created_at", "id"),
    # With the size, so that what is placed in each pool is summed up by the index alone.
    _by_prefix("ix_volumes_placed", "host", "created_at", "id", "size"),
    Index("ix_volumes_type", "volume_type_id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    _id(),
    *_owner(),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("volume_id", ForeignKey("volumes.id"), nullable=False),
    Column("size", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("progress", String(8), nullable=False, default="0%"),
    Column("volume_type_id", String(36), nullable=False),
    Column("group_snapshot_id", String(36)),
    Column("consumes_quota", Boolean, nullable=False, default=True),
    Column("metadata", JSON, nullable=False, default=dict),
    *_times(),
    Index("ix_snapshots_project", "project_id", "created_at", "id"),
    Index("ix_snapshots_created", "created_at", "id"),
    Index("ix_snapshots_project_status", "project_id", "status", "created_at", "id"),
    Index("ix_snapshots_status", "status", "created_at", "id"),
    Index("ix_snapshots_project_name", "project_id", "name", "created_at", "id"),
    Index("ix_snapshots_name", "name", "created_at", "id"),
    Index("ix_snapshots_volume", "volume_id"),
)

attachments = Table(
    "attachments",
    metadata,
    _id(),
    *_owner(),
    Column("volume_id", ForeignKey("volumes.id"), nullable=False),
    Column("instance_uuid", String(36)),
    Column("attach_status", String(32), nullable=False),
    Column("attach_mode", String(8)),
    Column("mountpoint", String(255)),
    Column("host_name", String(255)),
    Column("connector", JSON),
    Column("connection_info", JSON),
    Column("legacy", Boolean, nullable=False, default=False),
    Column("attached_at", DateTime),
    Column("detached_at", DateTime),
    *_times(),
    Index("ix_attachments_volume", "volume_id"),
    Index("ix_attachments_project", "project_id", "created_at", "id"),
    Index("ix_attachments_created", "created_at", "id"),
    Index("ix_attachments_instance", "instance_uuid"),
)

transfers = Table(
    "transfers",
    metadata,
    _id(),
    Column("volume_id", String(36), nullable=False),
    Column("name", String(255)),
    Column("salt", String(64), nullable=False),
    Column("auth_key_hash", String(128), nullable=False),
    Column("no_snapshots", Boolean, nullable=False, default=False),
    Column("source_project_id", String(255), nullable=False),
    Column("destination_project_id", String(255)),
    Column("accepted", Boolean, nullable=False, default=False),
    *_times(),
    Index("ix_transfers_project", "source_project_id", "created_at", "id"),
    UniqueConstraint("volume_id"),
)

quota_limits = Table(
    "quota_limits",
    metadata,
    Column("project_id", String(255), primary_key=True),
    Column("resource", String(300), primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)

quota_usages = Table(
    "quota_usages",
    metadata,
    Column("project_id", String(255), primary_key=True),
    Column("resource", String(300), primary_key=True),
    Column("in_use", Integer, nullable=False, default=0),
)

services = Table(
    "services",
    metadata,
    _id(),
    Column("binary", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("availability_zone", String(255), nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("disabled_reason", String(255)),
    Column("frozen", Boolean, nullable=False, default=False),
    Column("backend_state", String(8)),
    Column("log_level", String(16)),
    Column("log_level_wanted", String(16)),
    Column("reported_at", Float(53), nullable=False),
    *_times(),
    UniqueConstraint("binary", "host"),
)

service_processes = Table(
    "service_processes",
    metadata,
    Column("binary", String(64), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("process", String(255), primary_key=True),
    Column("works", Boolean, nullable=False),
    Column("remark", Text),
    Column("reported_at", Float(53), nullable=False),
)

pools = Table(
    "pools",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("backend", String(255), nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("reported_at", Float(53), nullable=False),
    Index("ix_pools_backend", "backend"),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    Column("project_id", String(255), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("resource_type", String(36)),
    Column("resource_uuid", String(36)),
    Column("event_id", String(64), nullable=False),
    Column("message_level", String(16), nullable=False, default="ERROR"),
    Column("user_message", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("expires_at", DateTime, nullable=False),
    Index("ix_messages_project", "project_id", "created_at", "id"),
    Index("ix_messages_created", "created_at", "id"),
    Index("ix_messages_resource", "resource_uuid"),
    Index("ix_messages_request", "request_id"),
    Index("ix_messages_expires", "expires_at"),
)

operations = Table(
    "operations",
    metadata,
    _id(),
    Column("workflow", String(64), nullable=False),
    Column("resource_type", String(32), nullable=False),
    Column("resource_id", String(300), nullable=False),
    *_owner(),
    Column("request_id", String(255), nullable=False),
    Column("state", String(16), nullable=False, default=OPEN),
    Column("step", String(64), nullable=False),
    Column("queue", String(300), nullable=False),
    Column("data", JSON, nullable=False, default=dict),
    Column("result", JSON),
    Column("failure", JSON),
    Column("trail", JSON, nullable=False, default=list),
    Column("epoch", Integer, nullable=False, default=0),
    Column("worker", String(255)),
    Column("lease_until", Float(53)),
    Column("due_at", Float(53), nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("progress", Integer),
    Column("reply_to", String(300)),
    Column("opened_at", Float(53), nullable=False),
    Column("ended_at", Float(53)),
    Index(
        "uq_operations_open_resource",
        "resource_type",
        "resource_id",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "ix_operations_open_queue",
        "queue",
        "due_at",
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    _by_prefix("ix_operations_work_on", "resource_id"),
    Index("ix_operations_request", "request_id"),
    Index(
        "ix_operations_answers",
        "ended_at",
        sqlite_where=text("workflow = 'list_manageable'"),
        postgresql_where=text("workflow = 'list_manageable'"),
    ),
)

servers = Table(
    "servers",
    metadata,
    _id(),
    *_owner(),
    Column("name", String(255), nullable=False),
    Column("description", String(255)),
    Column("status", String(32), nullable=False),
    Column("task_state", String(32)),
    Column("host", String(255)),
    Column("availability_zone", String(255)),
    Column("flavor", JSON, nullable=False),
    Column("image_ref", String(255)),
    Column("metadata", JSON, nullable=False, default=dict),
    Column("fault", JSON),
    Column("launched_at", DateTime),
    *_times(),
    Index("ix_servers_project", "project_id", "created_at", "id"),
    Index("ix_servers_created", "created_at", "id"),
    Index("ix_servers_host", "host"),
)

server_volumes = Table(
    "server_volumes",
    metadata,
    _id(),
    Column("server_id", ForeignKey("servers.id", ondelete="CASCADE"), nullable=False),
    Column("volume_id", String(36)),
    Column("source", JSON),
    Column("attachment_id", String(36)),
    Column("device", String(255)),
    Column("boot_index", Integer),
    Column("tag", String(255)),
    Column("delete_on_termination", Boolean, nullable=False, default=False),
    Column("state", String(32), nullable=False),
    *_times(),
    UniqueConstraint("server_id", "volume_id"),
    UniqueConstraint("server_id", "device"),
    Index("ix_server_volumes_volume", "volume_id"),
)

compute_hosts = Table(
    "compute_hosts",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("availability_zone", String(255), nullable=False),
    Column("details", JSON, nullable=False, default=dict),
    Column("reported_at", Float(53), nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("service", String(16), primary_key=True),
    Column("project_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("epoch", Integer, nullable=False, default=0),
    Column("lease_until", Float(53), nullable=False),
    Column("log", JSON, nullable=False, default=list),
    Column("status", Integer),
    Column("headers", JSON),
    Column("body", LargeBinary),
    Column("sealed", LargeBinary),
    Column("expires_at", Float(53), nullable=False),
    Index("ix_idempotency_keys_expires", "expires_at"),
)
