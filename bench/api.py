"""The figures of the API in both shapes, and of Cinder beside them: `make bench-api`.

    python -m bench.api                      # both shapes; Cinder's figures are those kept
    python -m bench.api --with-cinder        # a real Cinder in the same run: `make … CINDER=1`
    python -m bench.api --shapes one --scenarios post,get --rounds 1
    python -m bench.api --show FILE          # the tables of an earlier run
    python -m bench.api --show FILE --into docs/performance.md

Everything is started, then `bench/load.py` is run against one deployment after the other, scenario
by scenario, so that what else goes on here hits all of them. All is written to one JSON file; the
table goes to standard output. A server that only answers is measured, too: that is what the load
script can reach by itself on the same cores. `--profile` says what our processes were busy with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import figures, machine, subjects
from bench.figures import ALONE, CINDER, Figure, Found
from bench.profiling import profiled
from bench.subjects import Subject

OUT = Path(".cache/bench/api.json")
SCENARIOS = ("post", "e2e", "bulk", "get", "attach", "snap", "delete")
OURS: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "one": subjects.one_process,
    "spread": subjects.spread_out,
}
ANSWERED = ("post", "e2e", "bulk", "get", "delete")
"""Scenarios that the server which only answers knows."""


@dataclass(frozen=True)
class Counts:
    """How often each thing is done in a run: enough for seconds of work, whoever does it."""

    post: int
    e2e: int
    bulk: int
    get: int
    attach: int
    snap: int
    delete: int

    def options(self, scale: float) -> list[str]:
        """For the load script."""
        return [
            text
            for name in SCENARIOS
            for text in (f"--n-{name}", str(max(2, round(getattr(self, name) * scale))))
        ]


QUICK = Counts(post=200, e2e=60, bulk=200, get=1000, attach=60, snap=60, delete=60)
SLOW = Counts(post=32, e2e=16, bulk=40, get=100, attach=16, snap=16, delete=16)
"""For Cinder, which takes ten times as long for a tenth."""


@dataclass
class Collected:
    """What the runs against one deployment have found so far."""

    subject: Subject
    counts: Counts
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    memory: dict[str, float] = field(default_factory=dict)
    starts: list[tuple[float, float]] = field(default_factory=list)

    async def run(self, scenario: str, options: Sequence[str]) -> None:
        rows, told = await subjects.measured(self.subject, scenario, options)
        for metric, row in rows.items():
            self.rows[metric].append(row)
        self.shares[scenario].append(told["client_cpu_share"])
        for error, count in told["errors"].items():
            self.errors[error] += count

    def found(self) -> Found:
        services = self.subject.services
        return Found(
            rows={name: figures.summed_up(runs, services) for name, runs in self.rows.items()},
            client_share={name: statistics.median(some) for name, some in self.shares.items()},
            errors=dict(self.errors),
            memory_mb=self.memory,
            start_s={
                name: Figure.of(seconds)
                for name, seconds in zip(
                    ("202", "volume available"), zip(*self.starts, strict=True), strict=False
                )
            },
        )


async def measure(wanted: argparse.Namespace) -> dict[str, Any]:
    """Start all that is wanted, measure, stop it."""
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    # Whoever ends this ends all that it has started, too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        running = await _start(stack, wanted)
        for one in running:
            one.memory = one.subject.memory_mb()
        with _profiled(running) if wanted.profile else nullcontext() as shares:
            if wanted.warm_up:
                await _warm_up(running)
            for number in range(wanted.rounds):
                for scenario in wanted.scenarios:
                    _say(f"round {number + 1} of {wanted.rounds}: {scenario}")
                    await _each(running, scenario, wanted.scale)
            for present in wanted.lists:
                _say(f"lists, {present} volumes present")
                await _lists(running, present, wanted)
        for _ in range(wanted.starts):
            _say("cold start")
            _start_again(running)
        told = {
            "machine": machine.facts(),
            "rounds": wanted.rounds,
            "poll_s": {one.subject.name: one.subject.poll_s for one in running},
            "seconds": round(time.monotonic() - began),
            "durability": {one.subject.name: dict(one.subject.durability) for one in running},
            "found": {one.subject.name: one.found().plain() for one in running},
        }
    if shares is not None:
        told["profile"] = shares.table()
    told["ratios"] = figures.ratios(_found(told), _reference(told))
    return told


async def _start(stack: AsyncExitStack, wanted: argparse.Namespace) -> list[Collected]:
    makers = [(OURS[name], QUICK) for name in wanted.shapes]
    if wanted.with_cinder:
        makers.append((subjects.cinder_29, SLOW))
    makers.append((subjects.bare_responder, QUICK))
    running = []
    for make, counts in makers:
        _say(f"starting {make.__name__}")
        running.append(Collected(await stack.enter_async_context(make()), counts))
    return running


def _profiled(running: Sequence[Collected]) -> AbstractAsyncContextManager[Any] | Any:
    ours = [one.subject for one in running if one.subject.name not in (CINDER, ALONE)]
    return profiled(
        {f"{one.name}: {name}": pid for one in ours for name, pid in one.services.items()}
    )


async def _warm_up(running: Sequence[Collected]) -> None:
    """Whoever has just started does each thing once before it is measured."""
    for one in running:
        for scenario in ("post", "attach", "snap") if one.subject.token else ("post",):
            few = ("--conc", "4", "--conc-e2e", "4", "--n-post", "8", "--n-attach", "4")
            await subjects.measured(
                one.subject, scenario, (*few, "--n-snap", "4", "--max-seconds", "60")
            )


async def _each(running: Sequence[Collected], scenario: str, scale: float) -> None:
    for one in running:
        if one.subject.token or scenario in ANSWERED:
            await one.run(scenario, one.counts.options(scale))


async def _lists(running: Sequence[Collected], present: int, wanted: argparse.Namespace) -> None:
    for one in running:
        if not one.subject.token:
            continue
        volume = await subjects.a_volume(one.subject)
        await subjects.multiply(one.subject, volume, present - 1)
        repeat = 4 if one.subject.name == CINDER else 10
        await one.run("list", ("--n-list", str(max(2, round(repeat * wanted.scale)))))
        await subjects.multiply(one.subject, volume, 0)


def _start_again(running: Sequence[Collected]) -> None:
    for one in running:
        if one.subject.restart is not None:
            start = one.subject.restart()
            one.starts.append((start.accepted, start.available))


def _found(told: Mapping[str, Any]) -> dict[str, Found]:
    return {name: Found.of_plain(one) for name, one in told["found"].items()}


def _reference(told: Mapping[str, Any]) -> Found:
    """Cinder of this run, or as it was measured before."""
    return _found(told).get(CINDER) or figures.kept_figures()


def tables(told: Mapping[str, Any]) -> str:
    """What was found, as Markdown."""
    found = _found(told)
    ours = [name for name in found if name not in (CINDER, ALONE)]
    facts = told["machine"]
    beside = "in the same run" if CINDER in found else "measured before, on another machine"
    parts = [
        f"{facts['cores']} cores ({facts['processor']}), {facts['memory_gb']} GB, "
        f"{facts['system']}, CPython {facts['python']}; ten million additions take "
        f"{facts['ten_million_additions_s']} s. Commit {facts['commit']}"
        f"{' with changes' if facts['changed_since'] else ''}; {told['rounds']} rounds, median "
        f"(least..most). {CINDER}: {beside}.",
        figures.comparison(found, _reference(told), ours),
        "What the databases say of themselves:\n"
        + "\n".join(
            f"- {name}: " + "; ".join(f"{what} {value}" for what, value in settings.items())
            for name, settings in told["durability"].items()
            if settings
        ),
        "The load script's own share of one core, by scenario:\n"
        + "\n".join(
            f"- {name}: " + ", ".join(f"{what} {share}" for what, share in one.client_share.items())
            for name, one in found.items()
        ),
        "Everything that was measured; processor time of an operation, by process, has the engines,"
        " too:\n\n" + figures.details(found),
    ]
    errors = {name: one.errors for name, one in found.items() if one.errors}
    if errors:
        parts.append(f"Errors: {errors}")
    if "profile" in told:
        parts.append(told["profile"])
    return "\n\n".join(parts)


MARKS = "<!-- bench/api.py: from here -->", "<!-- bench/api.py: to here -->"


def replaced(page: str, shown: str) -> str:
    """The page with these tables between the marks."""
    before, first, rest = page.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not (first and second):
        raise SystemExit("the page has no place for the tables")
    return f"{before}{first}\n\n{shown}\n\n{second}{after}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command."""

    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with-cinder", action="store_true")
    parser.add_argument("--shapes", type=words, default=list(OURS), help="one, spread")
    parser.add_argument("--scenarios", type=words, default=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many requests")
    parser.add_argument(
        "--lists",
        type=lambda text: [int(word) for word in words(text)],
        nargs="?",
        const=[],
        default=[1000, 20000],
        help="measure lists with so many volumes present",
    )
    parser.add_argument("--starts", type=int, default=3, help="cold starts of each")
    parser.add_argument("--warm-up", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="... and put them in there")
    return parser.parse_args(arguments)


def main() -> None:
    wanted = asked()
    if wanted.show:
        shown = tables(json.loads(wanted.show.read_text()))
        if wanted.into:
            wanted.into.write_text(replaced(wanted.into.read_text(), shown))
        else:
            print(shown)
        return
    told = asyncio.run(measure(wanted))
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(told, indent=1) + "\n")
    print(tables(told))


if __name__ == "__main__":
    main()
