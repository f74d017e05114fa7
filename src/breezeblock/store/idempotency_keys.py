"""Idempotency keys in the database: what each request has done so far, and how it was answered.

Called by `web/` only. A row comes with the first thing that its request writes, in the same
transaction, so that there is either both or neither. Like operations, a row is held for a time by
the database's clock and with an epoch: an attempt that was taken over can write nothing any more,
neither here nor, since it is the same transaction, anywhere else.

What would tell a secret is sealed with the client's key (`model/sealing.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.idempotency import KEPT_FOR, Answer, Claim, Kept, Log, Remembered, Scope
from breezeblock.model.sealing import seal as sealed_with
from breezeblock.model.sealing import unseal
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import idempotency_keys

_COLUMNS = idempotency_keys.c


class Taken(Exception):
    """Another attempt has the key: what this one was about to write was not written."""


def find(tx: ReadTx, scope: Scope, seal: str = "") -> Remembered | None:
    """What stands under a key; `seal` opens what was sealed with it."""
    row = tx.first(
        sa.select(idempotency_keys, (_COLUMNS.lease_until < db_now()).label("lapsed")).where(
            *_of(scope)
        )
    )
    return _remembered(row, seal, lapsed=row.lapsed) if row else None


def _remembered(row: sa.Row[Any], seal: str, *, lapsed: bool) -> Remembered:
    if row.sealed is None:
        kept = Kept(row.log, row.headers or {}, row.body or b"")
    else:
        kept = msgspec.json.decode(unseal(seal, row.sealed), type=Kept)
    answered = row.status is not None
    answer = Answer(row.status, kept.headers, kept.body) if answered else None
    return Remembered(row.fingerprint, row.epoch, kept.log, answer, lapsed)


def write(
    tx: WriteTx, claim: Claim, *, first: bool, log: Log | None = None, answer: Answer | None = None
) -> None:
    """Note what has been done so far, or how it was answered (the log is then of no more use).

    `first`: nothing stands under the key yet. Raises Taken.
    """
    now = tx.clock()
    values: dict[str, Any] = {"log": [], "lease_until": now + claim.lease}
    if answer is not None:
        values |= {"status": answer.status}
    values |= _kept(claim.seal, log or [], answer)
    if first:
        identity = {name: getattr(claim.scope, name) for name in claim.scope.__struct_fields__}
        values |= identity | {"fingerprint": claim.fingerprint, "epoch": claim.epoch}
        written = tx.insert_once(idempotency_keys, values | {"expires_at": now + KEPT_FOR})
    else:
        written = bool(tx.run(_held(claim).values(values)))
    if not written:
        raise Taken(claim.scope.key)


def _kept(seal: str, log: Log, answer: Answer | None) -> dict[str, Any]:
    """The columns that may hold secrets."""
    if seal:
        told = answer or Answer(0)
        document = msgspec.json.encode(Kept(log, told.headers, told.body))
        return {"sealed": sealed_with(seal, document)}
    if answer is None:
        return {"log": log}
    return {"log": log, "headers": dict(answer.headers), "body": answer.body}


def take_over(tx: WriteTx, claim: Claim) -> Remembered | None:
    """Go on in the place of an attempt that is not heard of any more; None: it is, or has ended."""
    row = tx.first(
        idempotency_keys.update()
        .where(*_of(claim.scope), _COLUMNS.status.is_(None), _COLUMNS.lease_until < db_now())
        .values(epoch=_COLUMNS.epoch + 1, lease_until=db_now() + claim.lease)
        .returning(idempotency_keys)
    )
    return _remembered(row, claim.seal, lapsed=False) if row else None


def renew(tx: WriteTx, claim: Claim) -> bool:
    """Hold on to the key for another while; False when it is not held any more."""
    return bool(tx.run(_held(claim).values(lease_until=db_now() + claim.lease)))


def release(tx: WriteTx, claim: Claim) -> None:
    """Let go of a request that could not be finished: the next attempt need not wait."""
    tx.run(_held(claim).values(lease_until=0.0))


def forget_expired(tx: WriteTx) -> int:
    """Remove keys whose time is over; how many."""
    return tx.run(idempotency_keys.delete().where(_COLUMNS.expires_at < tx.clock()))


def _of(scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return tuple(_COLUMNS[name] == getattr(scope, name) for name in scope.__struct_fields__)


def _held(claim: Claim) -> sa.Update:
    return idempotency_keys.update().where(
        *_of(claim.scope), _COLUMNS.epoch == claim.epoch, _COLUMNS.status.is_(None)
    )
