"""`python -m tests.crash.chaos --seconds 120 --seed 7`; see the package's text."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console

from tests.crash.chaos.plan import WEIGHTS
from tests.crash.chaos.run import Wanted, run

SHORTEST = 10.0
"""Seconds. A run without a fault would pass."""


def main() -> int:
    """Run, print, and say by the exit code whether anything was violated."""
    parser = argparse.ArgumentParser("chaos", description="Real processes, real faults.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long there are faults")
    parser.add_argument("--seed", type=int, default=7, help="the order of faults and wishes")
    parser.add_argument("--clients", type=int, default=6)
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--guest", action=flag, default=True, help="one real guest takes part")
    parser.add_argument("--keys", action=flag, default=True, help="send Idempotency-Key at times")
    parser.add_argument(
        "--only",
        dest="kinds",
        action="append",
        choices=list(WEIGHTS),
        default=[],
        help="faults of this kind, to look into something; may be repeated",
    )
    given = parser.parse_args()
    if given.seconds < SHORTEST:
        parser.error(f"--seconds: at least {SHORTEST:.0f}: less proves nothing")
    given.kinds = tuple(given.kinds)
    console = Console(highlight=False)
    result = asyncio.run(run(Wanted(**vars(given)), console))
    result.save()
    console.print(result.last_line, soft_wrap=True)
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
