"""Idempotency-Key: the same request sent again gives the same answer, and is done once.

A client that heard no answer cannot know what became of his request. With a key on it he may send
it again, as often as he likes, to any api process:

    answered before       he gets that answer, word for word
    under way             he waits for its answer
    cut short             the api process died: another goes on where it stopped (`web/journal.py`)
    refused               nothing had been changed, nothing is remembered: it is a new request

The key's row comes and goes with what the request writes; nothing is promised by memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import structlog

from breezeblock.model.errors import InvalidInput
from breezeblock.model.idempotency import Answer, Claim, Remembered, Scope
from breezeblock.model.sealing import name_of
from breezeblock.store import idempotency_keys
from breezeblock.store.idempotency_keys import Taken
from breezeblock.store.store import ReadTx, Store, StoreUnavailable
from breezeblock.web.call import Call
from breezeblock.web.faults import RETRY_AFTER_SECONDS, Fault
from breezeblock.web.journal import Diverged, Journal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_log = structlog.get_logger(__name__)
_KEY = re.compile(r"[!-~]{1,255}")
_LOOKS = (0.05, 0.1, 0.2, 0.5, 1.0)

Attempt = Callable[[Call[Any]], Awaitable[Answer]]
"""Runs the handler. What it raises becomes an answer, but for Taken and Diverged."""


def key_of(call: Call[Any]) -> str | None:
    """The key of a POST, if it has one. Raises InvalidInput."""
    if call.route.method != "POST":
        return None
    key = call.headers.get(HEADER.lower())
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput(
            f"{HEADER}: it must be 1 to 255 visible ASCII characters, without spaces."
        )
    return key


def fingerprint(call: Call[Any]) -> str:
    """What makes two requests the same one; the layout of their JSON does not matter."""
    try:
        body = msgspec.json.decode(call.raw) if call.raw else None
        told = [call.route.action, body, sorted(call.query.items()), str(call.version)]
        document = msgspec.json.encode(told, order="sorted")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = call.raw  # no handler looks at such a body
    text = b"\0".join((call.route.method.encode(), call.path.encode(), document))
    return hashlib.sha256(text).hexdigest()


@dataclass(frozen=True)
class Idempotency:
    """Does POSTs with a key, once each. One a process and API.

    `lease`: seconds after which a request that its process is silent about is taken over.
    `patience`: seconds that a request waits for the answer to one before it.
    """

    store: Store
    lease: float
    patience: float

    async def answer(self, call: Call[Any], key: str, attempt: Attempt) -> Answer:
        """The answer to the request, whoever finds it. Raises Fault 422, 409."""
        claims = self._claims(call, key)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        looks = iter(_LOOKS)
        pause = 0.0
        while True:
            claim, known = await self._known(claims)
            if known is None:
                journal: Journal | None = Journal(self.store, claim)
            elif known.fingerprint != claim.fingerprint:
                raise Fault(422, f"{HEADER}: another request was made with this key before.")
            elif known.answer is not None:
                return _again(known.answer)
            else:
                journal = await self._taken_over(claim) if known.lapsed else None
            if journal is not None:
                with contextlib.suppress(Taken):
                    return await self._attempt(call, journal, attempt)
            if loop.time() >= deadline:
                raise _still_under_way()
            pause = next(looks, pause)
            await asyncio.sleep(pause)

    def _claims(self, call: Call[Any], key: str) -> tuple[Claim, ...]:
        """What to look for, the first of which is made when there is nothing."""
        who = call.identity
        where = (call.service.name, who.project_id, who.user_id)
        plain = Claim(Scope(*where, key), fingerprint(call), self.lease)
        if not call.route.secret:
            return (plain,)
        name = Scope(*where, name_of(key, *where))
        # The release before this one has left some that are not sealed.
        return msgspec.structs.replace(plain, scope=name, seal=key), plain

    async def _known(self, claims: tuple[Claim, ...]) -> tuple[Claim, Remembered | None]:
        def look(tx: ReadTx) -> tuple[Claim, Remembered | None]:
            for claim in claims:
                if found := idempotency_keys.find(tx, claim.scope, claim.seal):
                    return claim, found
            return claims[0], None

        return await self.store.read(look)

    async def _taken_over(self, claim: Claim) -> Journal | None:
        found: Remembered | None = await self.store.write(
            lambda tx: idempotency_keys.take_over(tx, claim)
        )
        if found is None:
            return None
        _log.info("request taken over", epoch=found.epoch)
        return Journal(self.store, msgspec.structs.replace(claim, epoch=found.epoch), found.log)

    async def _attempt(self, call: Call[Any], journal: Journal, attempt: Attempt) -> Answer:
        """Run the handler and keep its answer. Raises Taken when another attempt has the key."""
        renewing = asyncio.create_task(self._renew(journal))
        try:
            app = replace(call.app, store=journal)
            told = msgspec.structs.replace(call, app=app, journal=journal)
            answer = await attempt(told)
        except Diverged as error:
            _log.error("request cannot be resumed", path=call.path, exc_info=error)
            raise _cannot_be_resumed() from error
        finally:
            renewing.cancel()
        if answer.status >= 500:
            await journal.give_up()
        elif journal.begun or answer.status < 400:
            await journal.finish(answer)
        else:
            await journal.check_free()
        return answer

    async def _renew(self, journal: Journal) -> None:
        """Hold on to the key while the handler works, or waits."""
        while True:
            await asyncio.sleep(self.lease / 3)
            try:
                await journal.renew()
            except StoreUnavailable as error:
                _log.warning("database away", error=error.in_full)


def _again(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, headers={**answer.headers, REPLAYED: "true"})


def _still_under_way() -> Fault:
    return Fault(
        409,
        f"{HEADER}: the first request with this key is still under way. Send it again later.",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _cannot_be_resumed() -> Fault:
    return Fault(
        409,
        f"{HEADER}: the first request with this key was cut short, and this version of the service "
        "cannot go on with it. Look at what it did, and use another key.",
    )
