"""`bench/load.py` as it is, with processor time told as finely as the kernel counts it.

The script rounds an operation's processor time to a tenth of a millisecond, which is a good part of
what some of ours take. Everything else of it, its options too, is unchanged.
"""

from __future__ import annotations

from typing import Any

from bench import load


class Cpu(load.Cpu):
    """Remembers what it told last."""

    last: dict[str, Any]

    def diff(self, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        self.last = super().diff(a, b)
        return self.last


class Bench(load.Bench):
    """Puts the unrounded figures into each row that has any."""

    def __init__(self, a: Any) -> None:
        super().__init__(a)
        self.cpu = Cpu(a.watch)

    def add(self, metric: str, *args: Any, **more: Any) -> None:
        super().add(metric, *args, **more)
        row = self.rows[metric][-1]
        if "cpu_ms_per_op" in row:
            spent = self.cpu.last["svc"]
            exact = {name: 1e3 * seconds / row["n"] for name, seconds in spent.items()}
            row["cpu_ms_per_op"] = {**exact, "all": sum(exact.values())}


if __name__ == "__main__":
    load.Bench = Bench
    load.main()
