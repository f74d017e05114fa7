"""What the load script found, summed up over runs, and compared with Cinder: plain data and tables.

A `Row` is one metric of one deployment. `AIMS` says how many times as much as Cinder's, or as
little, a figure is to be. Rates and times are those of the clock and include the client, which uses
the same cores; processor time is the services' own.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

CINDER = "Cinder 29"
ALONE = "only answers"
"""The server that does nothing else: what the client can reach."""
KEPT = Path(__file__).with_name("cinder29.json")
"""Cinder's figures as they were measured before, for runs without it."""


@dataclass(frozen=True)
class Figure:
    """The median over all runs, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.median:.4g}"
        return f"{self.median:.4g} ({self.least:.4g}..{self.most:.4g})"


@dataclass(frozen=True)
class Row:
    """One metric of one deployment; `cpu_ms` is an operation's, all its services together."""

    n: int
    per_second: Figure
    p50_ms: Figure
    p99_ms: Figure
    cpu_ms: Figure | None = None
    cpu_ms_by_process: Mapping[str, float] = field(default_factory=dict)
    """Medians; the engines are in it, too."""
    others_cores: Figure | None = None
    """How many cores were busy with anything else than client and deployment."""


@dataclass
class Found:
    """All that was found of one deployment."""

    rows: dict[str, Row]
    client_share: dict[str, float] = field(default_factory=dict)
    """By scenario: how much of one core the load script itself used."""
    errors: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    start_s: dict[str, Figure] = field(default_factory=dict)
    """From the start of the services to the first 202, and to the first volume available."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_plain(cls, told: Mapping[str, Any]) -> Self:
        return cls(
            rows={name: _row(row) for name, row in told["rows"].items()},
            client_share=told.get("client_share", {}),
            errors=told.get("errors", {}),
            memory_mb=told.get("memory_mb", {}),
            start_s={name: _figure(one) for name, one in told.get("start_s", {}).items()},
        )


def _figure(told: Any) -> Figure:
    return Figure(*(told.values() if isinstance(told, Mapping) else told))


def _row(told: Mapping[str, Any]) -> Row:
    figures = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "others_cores")
    made = {name: _figure(told[name]) for name in figures if told.get(name)}
    return Row(n=told["n"], cpu_ms_by_process=told.get("cpu_ms_by_process", {}), **made)


def summed_up(runs: Sequence[Mapping[str, Any]], services: Iterable[str]) -> Row:
    """One metric's runs, as the load script writes them."""
    by_process = [run["cpu_ms_per_op"] for run in runs if "cpu_ms_per_op" in run]
    names = sorted({name for one in by_process for name in one} - {"all"})
    own = [sum(one.get(name, 0.0) for name in services) for one in by_process]
    others = [run["foreign_cores"] for run in runs if "foreign_cores" in run]
    return Row(
        n=runs[0]["n"],
        per_second=Figure.of(run["rps"] for run in runs),
        p50_ms=Figure.of(run["p50_ms"] for run in runs),
        p99_ms=Figure.of(run["p99_ms"] for run in runs),
        cpu_ms=Figure.of(own) if own else None,
        cpu_ms_by_process={
            name: round(statistics.median(one.get(name, 0.0) for one in by_process), 3)
            for name in names
        },
        others_cores=Figure.of(others) if others else None,
    )


def kept_figures() -> Found:
    """Cinder as it was measured before, on another machine."""
    return Found.of_plain(json.loads(KEPT.read_text()))


# -- the comparison ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Aim:
    """What is to be how many times better than Cinder's; `figure` is a field of `Row`."""

    metric: str
    figure: str
    times: float
    what: str


def _aims() -> list[Aim]:
    rates = {
        "POST /volumes": {1: 30, 8: 50, 32: 50},
        "GET /volumes/id": {8: 30, 32: 30},
        "attachment flow (4 calls)": {1: 30, 8: 30},
        "snapshot create->available": {1: 30, 8: 30},
        "snapshot delete->gone": {1: 30, 8: 30},
        "delete volume->gone": {1: 30, 8: 30},
    }
    made = [
        Aim(f"{metric} c={at_once}", "per_second", times, f"{metric}, {at_once} at once, a second")
        for metric, aims in rates.items()
        for at_once, times in aims.items()
    ]
    made[3:3] = [
        *(
            Aim(f"create->available c={n}", "p50_ms", 30, f"create->available, {n} at once, p50 ms")
            for n in (1, 8)
        ),
        Aim("bulk: volumes reaching available", "per_second", 30, "volumes a second, 8 at once"),
    ]
    for present in (1000, 20000):
        tag = f"({present} present)"
        detail = f"GET /volumes/detail?limit=1000 c=1 {tag}"
        deep = f"GET /volumes/detail?limit=50 marker at 90% c=1 {tag}"
        made += [
            Aim(detail, "p50_ms", 30, f"1,000 volumes in detail {tag}, p50 ms"),
            Aim(deep, "p50_ms", 30, f"50 in detail, marker at 90 % {tag}, p50 ms"),
        ]
    dear = [
        *(f"POST /volumes c={n}" for n in (1, 8, 32)),
        *(f"create->available c={n}" for n in (1, 8)),
        "bulk: volumes reaching available",
        *(f"GET /volumes/id c={n}" for n in (1, 8, 32)),
        *(f"attachment flow (4 calls) c={n}" for n in (1, 8)),
        *(f"snapshot create->available c={n}" for n in (1, 8)),
        *(f"snapshot delete->gone c={n}" for n in (1, 8)),
        *(f"delete volume->gone c={n}" for n in (1, 8)),
        *(f"GET /volumes/detail?limit=1000 c=1 ({n} present)" for n in (1000, 20000)),
    ]
    return made + [Aim(metric, "cpu_ms", 40, f"processor ms: {metric}") for metric in dear]


AIMS = _aims()


def ratio(aim: Aim, ours: Row, reference: Row) -> float | None:
    """How many times better; of processor time so small that it is not seen, nothing is said."""
    mine, theirs = getattr(ours, aim.figure), getattr(reference, aim.figure)
    if mine is None or theirs is None or not (mine.median and theirs.median):
        return None
    quotient: float = mine.median / theirs.median
    return quotient if aim.figure == "per_second" else 1 / quotient


def ratios(found: Mapping[str, Found], reference: Found) -> dict[str, dict[str, float]]:
    """By what is aimed at, then by deployment."""
    told: dict[str, dict[str, float]] = {}
    for aim in AIMS:
        for name, one in found.items():
            if name == CINDER or aim.metric not in one.rows or aim.metric not in reference.rows:
                continue
            reached = ratio(aim, one.rows[aim.metric], reference.rows[aim.metric])
            if reached is not None:
                told.setdefault(aim.what, {})[name] = round(reached, 1)
    return told


def comparison(found: Mapping[str, Found], reference: Found, ours: Sequence[str]) -> str:
    """The table of aims: Cinder's figure, ours, and how many times better that is."""
    head = ["what", "aim, times", CINDER, *(text for name in ours for text in (name, "times"))]
    alone = found.get(ALONE, Found({}))
    head.append("the client alone")
    lines = [_line(head), _line(["---"] * len(head))]
    for aim in AIMS:
        theirs = reference.rows.get(aim.metric)
        if theirs is None or not any(aim.metric in found[name].rows for name in ours):
            continue
        cells = [aim.what, f"{aim.times:g}", _told(theirs, aim.figure)]
        for name in ours:
            row = found[name].rows.get(aim.metric)
            reached = None if row is None else ratio(aim, row, theirs)
            cells += [
                "-" if row is None else _told(row, aim.figure),
                "-" if reached is None else _bold(reached, aim.times),
            ]
        limit = alone.rows.get(aim.metric) if aim.figure != "cpu_ms" else None
        cells.append("-" if limit is None else f"{getattr(limit, aim.figure).median:.4g}")
        lines.append(_line(cells))
    lines += _whole_rows(found, reference, ours)
    return "\n".join(lines)


def _whole_rows(found: Mapping[str, Found], reference: Found, ours: Sequence[str]) -> list[str]:
    """What is measured once for a whole deployment: memory and start, to be a tenth."""

    def told(one: Found) -> dict[str, float]:
        starts = {f"start to first {name}, s": figure for name, figure in one.start_s.items()}
        return {
            **{f"memory idle, {kind.upper()} MB": one.memory_mb.get(kind, 0) for kind in _KINDS},
            **{name: figure.median for name, figure in starts.items()},
        }

    lines = []
    for what, theirs in told(reference).items():
        cells = [what, "10", f"{theirs:.4g}" if theirs else "-"]
        for name in ours:
            mine = told(found[name]).get(what)
            both = mine and theirs
            cells += [
                f"{mine:.4g}" if mine else "-",
                _bold(theirs / mine, 10) if both and mine else "-",
            ]
        if any(cell != "-" for cell in cells[3:]):
            lines.append(_line([*cells, "-"]))
    return lines


_KINDS = ("rss", "pss")


def details(found: Mapping[str, Found]) -> str:
    """Every metric of every deployment."""
    head = ["what", "of", "n", "a second", "p50 ms", "p99 ms", "CPU ms, services", "by process"]
    lines = [_line(head), _line(["---"] * len(head))]
    for metric in dict.fromkeys(metric for one in found.values() for metric in one.rows):
        for name, one in found.items():
            if (row := one.rows.get(metric)) is None:
                continue
            shares = ", ".join(f"{part} {ms:.3g}" for part, ms in row.cpu_ms_by_process.items())
            figures = (row.per_second, row.p50_ms, row.p99_ms, row.cpu_ms or "-")
            lines.append(_line([metric.strip(), name, str(row.n), *map(str, figures), shares]))
    return "\n".join(lines)


def _told(row: Row, figure: str) -> str:
    return str(getattr(row, figure) or "-")


def _bold(reached: float, aim: float) -> str:
    """Bold where the aim is reached."""
    text = f"{reached:.3g}"
    return f"**{text}**" if reached >= aim else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
