"""What a volume must hold: numbered writes, of which those that were acknowledged count.

A volume is looked at in slots, blocks that lie apart from each other. A slot may hold what was kept
last (acknowledged and flushed) or anything that was attempted since: a client that heard nothing
cannot know. A snapshot must hold what its volume held when it was asked for, or what was attempted
until it was there; so must a copy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

GIB = 1 << 30
BLOCK = 1 << 16
PAGE = 1 << 12
"""What a host that dies may leave half of a block in: pages are whole."""
SLOTS_PER_GIB = 6

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Mark:
    """One write: to which volume and slot, and its number (no two of a run are the same)."""

    volume_id: str
    slot: int
    number: int

    @classmethod
    def next(cls, volume_id: str, slot: int) -> Mark:
        return cls(volume_id, slot, next(_numbers))

    @property
    def head(self) -> bytes:
        """What the block repeats all over: 32 bytes."""
        numbers = self.slot.to_bytes(8, "big") + self.number.to_bytes(8, "big")
        return UUID(self.volume_id).bytes + numbers

    @cached_property
    def block(self) -> bytes:
        return self.head * (BLOCK // 32)

    def __str__(self) -> str:
        return f"write {self.number} (volume {self.volume_id}, slot {self.slot})"


ZEROS = bytes(BLOCK)

Held = Mark | None
"""What a slot holds; None: it was never written, and reads as zeros."""


def offset_of(slot: int) -> int:
    """Where a slot lies: never at a round place, spread over the volume."""
    gib, part = divmod(slot, SLOTS_PER_GIB)
    return gib * GIB + part * (GIB // SLOTS_PER_GIB // BLOCK) * BLOCK + (BLOCK if part else 0)


def slots_of(size: int) -> range:
    """The slots of a volume of so many GiB."""
    return range(size * SLOTS_PER_GIB)


def block_of(held: Held) -> bytes:
    return held.block if held else ZEROS


def told(block: bytes) -> str:
    """What a block that should not be there seems to be."""
    if block == ZEROS:
        return "zeros"
    mark = Mark(str(UUID(bytes=block[:16])), *_two_numbers(block[16:32]))
    return str(mark) if block == mark.block else f"a mixture that begins like {mark}"


def _two_numbers(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[:8], "big"), int.from_bytes(head[8:], "big")


@dataclass(eq=False)
class Content:
    """What each slot may hold: what was kept last, then what was attempted since."""

    possible: dict[int, tuple[Held, ...]] = field(default_factory=dict)
    followers: list[Content] = field(default_factory=list)

    def of(self, slot: int) -> tuple[Held, ...]:
        return self.possible.get(slot, (None,))

    def attempt(self, slot: int, mark: Mark) -> None:
        """A write is on its way; it may or may not be there from now on."""
        self.possible[slot] = (*self.of(slot), mark)
        for follower in self.followers:
            follower.attempt(slot, mark)

    def keep(self, slot: int, held: Held) -> None:
        """This, and nothing older, is there from now on."""
        if held in self.of(slot):
            self.possible[slot] = self.of(slot)[self.of(slot).index(held) :]

    def know(self, slot: int, block: bytes) -> None:
        """It was read while nobody writes: the rest did not happen."""
        for held in self.of(slot):
            if block == block_of(held):
                self.possible[slot] = (held,)

    def begin_copy(self) -> Content:
        """What a snapshot or a copy may hold that is asked for now; `end_copy` when it is there."""
        copy = Content(dict(self.possible))
        self.followers.append(copy)
        return copy

    def end_copy(self, copy: Content) -> None:
        """The copy is there: what is written from now on must not show up in it."""
        if copy in self.followers:
            self.followers.remove(copy)

    def problem(self, slot: int, block: bytes) -> str | None:
        """Why the slot must not hold this, or None when it may."""
        allowed = [block_of(held) for held in self.of(slot)]
        if block in allowed or (len(allowed) > 1 and _pages_are_from(block, allowed)):
            return None
        wanted = " or ".join(str(held or "zeros") for held in self.of(slot))
        return f"slot {slot} holds {told(block)}, it must hold {wanted}"


def _pages_are_from(block: bytes, allowed: list[bytes]) -> bool:
    """Whether a write that was cut off explains the block: each page is one of the two sides'."""
    return all(
        any(block[at : at + PAGE] == one[at : at + PAGE] for one in allowed)
        for at in range(0, BLOCK, PAGE)
    )
