"""python -m tests.crash.histories --seed 11 --examples 200 --steps 60: any seed, any length.

A failure prints the shrunk history and how to repeat it. Figures of runs without one go to
.cache/reliability/histories.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.crash.histories import tally
from tests.crash.histories.run import Figures, run

RESULTS = Path(__file__).parents[3] / ".cache" / "reliability" / "histories.json"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, nargs="+", default=[11])
    parser.add_argument("--examples", type=int, default=200, help="histories a seed")
    parser.add_argument("--steps", type=int, default=60, help="the longest history")
    parser.add_argument("--unshrunk", action="store_true", help="show a failure as it was found")
    told = parser.parse_args(arguments)
    total = Figures()
    for seed in told.seed:
        try:
            figures = run(seed, told.examples, told.steps, shrink=not told.unshrunk)
        except BaseException as error:
            print(f"\nseed {seed}, history {tally.TALLY.examples}: {type(error).__name__}: {error}")
            for note in getattr(error, "__notes__", ()):
                print(note)
            print(
                f"\nAgain: python -m tests.crash.histories --seed {seed} "
                f"--examples {told.examples} --steps {told.steps}"
            )
            if not isinstance(error, Exception):
                raise
            return 1
        total.add(figures)
        print(
            f"seed {seed}: {figures.examples} histories, {figures.steps} steps, "
            f"{sum(figures.faults.values())} faults, work hit in {figures.hit} histories, "
            f"{figures.seconds:.0f} s, no violation",
            flush=True,
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(total.as_dict(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
