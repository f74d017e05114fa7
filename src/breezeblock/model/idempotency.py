"""Idempotency keys: the data. A client names a request, so that it can send it again unharmed.

The web layer writes them with `store.idempotency_keys`; what happens when is said in
`web/idempotency.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

KEPT_FOR = 24 * 3600.0
"""Seconds after which a key is forgotten."""

Entry = list[Any]
"""One thing that a handler asked for: [kind, encoded result]."""
Log = list[list[Entry]]
"""What a request has done so far, a list for each of its tasks."""


class Answer(msgspec.Struct, frozen=True):
    """What a client is told: everything of a reply that the request itself decides."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Scope(msgspec.Struct, frozen=True):
    """Where a key means one request: nobody meets the keys of another user, project or API."""

    service: str
    project_id: str
    user_id: str
    key: str


class Claim(msgspec.Struct, frozen=True):
    """One attempt's right to do the request. `epoch` counts the attempts; an old one is refused.

    `seal`: the client's key, where what is kept holds a secret; the scope then has its name only.
    """

    scope: Scope
    fingerprint: str
    lease: float
    epoch: int = 0
    seal: str = ""


class Kept(msgspec.Struct, frozen=True):
    """What is sealed, where something is: what the request has done so far, and the answer."""

    log: Log
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Remembered(msgspec.Struct, frozen=True):
    """What stands under a key. Without an answer the request is under way, or was cut short.

    `lapsed`: whoever did it has not been heard of for longer than his lease.
    """

    fingerprint: str
    epoch: int
    log: Log
    answer: Answer | None
    lapsed: bool
