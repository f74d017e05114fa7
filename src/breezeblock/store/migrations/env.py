"""Alembic's entry: runs the migrations on the connection that `store/schema.py` hands over.

A migration here only expands; `store/schema.py` tells what that is, and how to contract.
"""

from __future__ import annotations

from alembic import context

from breezeblock.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    version_table="schema_revision",
)
with context.begin_transaction():
    context.run_migrations()
