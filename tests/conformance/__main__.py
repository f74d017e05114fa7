"""All conformance suites, one after the other: `python -m tests.conformance [suite …]`.

The last lines say of each suite how many cases passed, failed and were skipped.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.conformance.suite import SUITES, Result, tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("suite", nargs="*", help=f"{', '.join(SUITES)}; all by default")
    wanted = parser.parse_args().suite or SUITES
    if unknown := set(wanted) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; known: {', '.join(SUITES)}")
    results = [_run(module) for module in wanted]
    print()
    for result in results:
        print(result.line)
    return 1 if any(result.failed for result in results) else 0


def _run(module: str) -> Result:
    suite = importlib.import_module(f"tests.conformance.{module}")
    print(f"== {suite.NAME}", flush=True)
    return tell(suite.NAME, suite.run)


if __name__ == "__main__":
    sys.exit(main())
