"""Wake-ups as messages: all that ever crosses the bus (design, law 1)."""

from __future__ import annotations

import msgspec
import structlog

from breezeblock.bus.base import Bus, BusUnavailable, UnreadableMessage
from breezeblock.store.store import Wake

log = structlog.get_logger()

_WAKES = msgspec.json.Decoder(dict[str, str])


def wake_body(operation_id: str) -> bytes:
    """The message that says: this operation has work for you."""
    return msgspec.json.encode({"operation": operation_id})


def parse_wake(body: bytes) -> str:
    """The operation's id. Raises UnreadableMessage for what is no wake-up."""
    try:
        return _WAKES.decode(body)["operation"]
    except (msgspec.DecodeError, KeyError) as error:
        raise UnreadableMessage(f"It is no wake-up: {error}") from None


async def send_wakes(bus: Bus, wakes: list[Wake]) -> None:
    """Send wake-ups; a broker that is away costs latency only, so it is merely noted.

    Nor is its confirmation waited for: what relies on it is nothing (law 1), and an answer to a
    client would be later by as long as the broker takes to write to its disk.
    """
    for wake in wakes:
        try:
            await bus.hint(wake.topic, wake_body(wake.operation_id), everyone=wake.everyone)
        except BusUnavailable as error:
            log.warning("wake-up not sent", topic=wake.topic, error=str(error))
