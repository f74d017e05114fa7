"""All pools of a large cloud, kept so that one request asks few of them.

A scheduler has one `PoolTable` for as long as it runs. Each pool has a slot in it, and sets of
pools are integers with a bit a slot: ten thousand pools are little more than a kilobyte, and "in
the zone, and with room, and fast" is two `&`. Filters keep what they look at in columns
(`PoolTable.column`), and a column remembers which pools pass a test of its values. When a pool's
report changes, or something is placed in it, its own bits are set anew, in the columns whose value
has changed: so what is remembered is true at any time, and a request costs as much as is new in it.

`lock` is held by whoever looks or changes: transactions run on several threads.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Any

from breezeblock.scheduler.capacity import UNLIMITED
from breezeblock.scheduler.pools import Pool

REMEMBERED = 64
"""Tests that a column remembers, and columns that a table does: those asked last."""

PASSES, FAILS = "1", "0"


class Column:
    """One thing that pools have, such as a capability. Few values may be shared by many pools."""

    def __init__(self, read: Callable[[Pool], Any], key: Callable[[Any], Hashable]) -> None:
        self._read = read
        self._key = key
        self._numbers: dict[Hashable, int] = {}
        self._values: list[Any] = []
        self._users: list[int] = []
        self._unused: list[int] = []
        self._of_slot: list[int] = []
        self._tests: OrderedDict[Hashable, _Test] = OrderedDict()

    def put(self, slot: int, pool: Pool) -> None:
        """Read a pool that is new in its slot, or has changed."""
        value = self._read(pool)
        key = self._key(value)
        if slot == len(self._of_slot):
            self._of_slot.append(-1)
        before, number = self._of_slot[slot], self._numbers.get(key, -1)
        if number == before != -1:
            return
        if number == -1:
            number = self._numbered(key, value)
        self._users[number] += 1
        self._of_slot[slot] = number
        if before != -1:
            self._leave(before)
        for test in self._tests.values():
            test.set(slot, test.verdict(number, value))

    def where(self, name: Hashable, test: Callable[[Any], bool]) -> int:
        """The pools whose value passes. `name` says all that the test's verdict depends on."""
        known = self._tests.get(name)
        if known is None:
            known = self._tests[name] = _Test(test, self._values, self._of_slot)
            if len(self._tests) > REMEMBERED:
                self._tests.popitem(last=False)
        else:
            self._tests.move_to_end(name)
        return known.passing

    def values(self) -> Iterator[Any]:
        """Those that some pool has, each once."""
        return (self._values[number] for number in self._numbers.values())

    def _numbered(self, key: Hashable, value: Any) -> int:
        if self._unused:
            number = self._unused.pop()
            self._values[number] = value
        else:
            number = len(self._values)
            self._values.append(value)
            self._users.append(0)
        self._numbers[key] = number
        for test in self._tests.values():
            test.forget(number)
        return number

    def _leave(self, number: int) -> None:
        """One pool less has this value; the number of one that nobody has is given out again."""
        self._users[number] -= 1
        if not self._users[number]:
            del self._numbers[self._key(self._values[number])]
            self._unused.append(number)


class _Test:
    """A test of a column's values, what it said of each, and the pools that pass."""

    def __init__(self, test: Callable[[Any], bool], values: list[Any], of_slot: list[int]) -> None:
        self._test = test
        self._said: list[str | None] = [PASSES if test(value) else FAILS for value in values]
        said = map(self._said.__getitem__, reversed(of_slot))
        self.passing = int("".join(said) or FAILS, 2)  # type: ignore[arg-type]

    def forget(self, number: int) -> None:
        """Another value has this number from now on."""
        if number < len(self._said):
            self._said[number] = None
        else:
            self._said.append(None)

    def verdict(self, number: int, value: Any) -> bool:
        said = self._said[number]
        if said is None:
            said = self._said[number] = PASSES if self._test(value) else FAILS
        return said == PASSES

    def set(self, slot: int, passes: bool) -> None:
        bit = 1 << slot
        if bool(self.passing & bit) is not passes:
            self.passing ^= bit


class Order:
    """The pools from the highest figure of one kind down; equal ones by their names."""

    def __init__(self, figure: Callable[[Pool], float], pools: Iterable[tuple[int, Pool]]) -> None:
        self._figure = figure
        self._of_slot = {slot: (-figure(pool), pool.name, slot) for slot, pool in pools}
        self._places = sorted(self._of_slot.values())
        self._slots = [slot for _, _, slot in self._places]
        self._limit = UNLIMITED
        endless = self._slots[: self._end(UNLIMITED)]
        self._above = sum(1 << slot for slot in endless)

    def put(self, slot: int, pool: Pool) -> None:
        """Read a pool that is new in its slot, or has changed."""
        place = (-self._figure(pool), pool.name, slot)
        before = self._of_slot.get(slot)
        if place == before:
            return
        if before is not None:
            at = bisect_left(self._places, before)
            del self._places[at], self._slots[at]
        at = bisect_left(self._places, place)
        self._places.insert(at, place)
        self._slots.insert(at, slot)
        self._of_slot[slot] = place
        bit = 1 << slot
        above = -place[0] >= self._limit
        self._above = self._above | bit if above else self._above & ~bit

    def extremes(self, among: int, most: int) -> tuple[list[tuple[float, int]], float]:
        """(figure, slot) of the first `most` of these pools, and the figure of the last of all."""
        passes = _flags(among, len(self._slots)).__getitem__
        first = islice(filter(passes, self._slots), most)
        last = next(filter(passes, reversed(self._slots)))
        return [(-self._of_slot[slot][0], slot) for slot in first], -self._of_slot[last][0]

    def at_least(self, limit: float) -> int:
        """The pools whose figure is no smaller.

        The last answer is remembered: between two limits there are few pools.
        """
        ends = sorted((self._end(self._limit), self._end(limit)))
        flags = bytearray(len(self._slots))
        for slot in self._slots[slice(*ends)]:
            flags[slot] = 1
        self._above ^= int(bytes(reversed(flags)).translate(_AS_DIGITS) or b"0", 2)
        self._limit = limit
        return self._above

    def _end(self, limit: float) -> int:
        """How many pools have at least so much."""
        return bisect_left(self._places, (-limit, _LAST, 0))


_LAST = chr(sys.maxunicode)
"""Comes after all names."""
_AS_DIGITS = bytes.maketrans(b"\0\1", b"01")
_AS_FLAGS = bytes.maketrans(b"01", b"\0\1")


def _flags(slots: int, length: int) -> bytes:
    """A byte a slot, 1 for those in the set."""
    return bin(slots)[:1:-1].encode().translate(_AS_FLAGS).ljust(length, b"\0")


class PoolTable:
    """Pools by name, in slots. Iterating gives them as they are at that moment."""

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self.lock = threading.RLock()
        self._slots: dict[str, int] = {}
        self._pools: list[Pool] = []
        self._empty: list[int] = []
        self._columns: OrderedDict[Hashable, Column] = OrderedDict()
        self._orders: dict[Hashable, Order] = {}
        self.present = 0
        self.ready = 0
        for pool in pools:
            self.put(pool)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Pool]:
        with self.lock:
            return iter([self._pools[slot] for slot in self._slots.values()])

    def get(self, name: str) -> Pool | None:
        slot = self._slots.get(name)
        return None if slot is None else self._pools[slot]

    def put(self, pool: Pool) -> None:
        """Take a pool in, or what it has become."""
        with self.lock:
            slot = self._slots.get(pool.name)
            if slot is None:
                slot = self._slots[pool.name] = self._new_slot(pool)
            self._pools[slot] = pool
            bit = 1 << slot
            self.present |= bit
            self.ready = self.ready | bit if pool.ready else self.ready & ~bit
            for column in self._columns.values():
                column.put(slot, pool)
            for order in self._orders.values():
                order.put(slot, pool)

    def remove(self, name: str) -> None:
        """Forget a pool; its slot is another one's later."""
        with self.lock:
            slot = self._slots.pop(name)
            self._empty.append(slot)
            self.present &= ~(1 << slot)
            self.ready &= ~(1 << slot)

    def _new_slot(self, pool: Pool) -> int:
        if self._empty:
            return self._empty.pop()
        self._pools.append(pool)
        return len(self._pools) - 1

    def column(
        self,
        name: Hashable,
        read: Callable[[Pool], Any],
        key: Callable[[Any], Hashable] = repr,
    ) -> Column:
        """The column of this name. `key` tells values apart: any two that a test might."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Column(read, key)
            for slot, pool in enumerate(self._pools):
                column.put(slot, pool)
            if len(self._columns) > REMEMBERED:
                self._columns.popitem(last=False)
        else:
            self._columns.move_to_end(name)
        return column

    def order(self, name: Hashable, figure: Callable[[Pool], float]) -> Order:
        """The order of this name; there are as many as filters and weighers know."""
        order = self._orders.get(name)
        if order is None:
            order = self._orders[name] = Order(figure, enumerate(self._pools))
        return order

    def named(self, names: Iterable[str]) -> int:
        """The pools of these names that are there."""
        found = 0
        for name in names:
            if (slot := self._slots.get(name)) is not None:
                found |= 1 << slot
        return found

    def at(self, slot: int) -> Pool:
        return self._pools[slot]

    def each(self, among: int) -> Iterator[tuple[int, Pool]]:
        """Bit and pool of these, in the order of their slots."""
        while among:
            bit = among & -among
            yield bit, self._pools[bit.bit_length() - 1]
            among ^= bit
