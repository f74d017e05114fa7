"""Identifiers: the one place that makes them, so that tests can make them repeatable."""

from __future__ import annotations

import uuid


def new_id() -> str:
    """A random UUID in its usual form with dashes, lower case."""
    return str(uuid.uuid4())
