"""The bus, chosen by URL: in memory for one process, AMQP for many."""

from __future__ import annotations

from breezeblock.bus.base import Bus, BusUnavailable, Handler, NotHere
from breezeblock.bus.memory import MemoryBus
from breezeblock.model.errors import InvalidInput

__all__ = ["Bus", "BusUnavailable", "Handler", "NotHere", "open_bus"]


def open_bus(url: str) -> Bus:
    """The bus that `url` names: `memory:`, `amqp://...` or `amqps://...`; not yet started.

    Every `memory:` bus is a world of its own: services that shall hear each other share one.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return MemoryBus()
    if scheme in ("amqp", "amqps"):
        from breezeblock.bus.amqp import AmqpBus  # not loaded where it is not used

        return AmqpBus(url)
    raise InvalidInput(f"No bus is known for {scheme!r}: use memory:, amqp:// or amqps://.")
