"""What share of the processor time went to what: HTTP, policy, SQL, bus, engine, driver.

    with profiled({"api": pid, …}) as shares:
        …                       # the load
    print(shares.table())

py-spy looks a hundred times a second at the thread that holds the interpreter's lock, from outside,
so nothing is slowed down much; what C code does without the lock (SQLite's own work, waiting) is
not seen. Each sample counts for the innermost frame that belongs to one of the parts below. It
attaches to processes, for which it needs to be root, or `sysctl kernel.yama.ptrace_scope=0`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SAMPLES_A_SECOND = 100

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SQL", ("breezeblock/store/", "sqlalchemy/", "psycopg", "sqlite3")),
    ("bus", ("breezeblock/bus/", "aio_pika/", "aiormq/", "pamqp/")),
    ("identity and policy", ("breezeblock/auth/", "oslo_policy/", "httpx2/", "httpcore")),
    ("driver", ("breezeblock/drivers/", "bench/free_driver")),
    (
        "logs, metrics, traces",
        (
            "breezeblock/telemetry/",
            "structlog/",
            "logging/",
            "prometheus_client/",
            "opentelemetry/",
        ),
    ),
    ("scheduling", ("breezeblock/scheduler/", "breezeblock/workflows/pool_view")),
    ("engine and workflows", ("breezeblock/operations/", "breezeblock/workflows/")),
    ("handlers and rendering", ("breezeblock/api/", "breezeblock/compute/", "breezeblock/model/")),
    ("HTTP", ("breezeblock/web/", "uvicorn/", "falcon/")),
    ("services", ("breezeblock/services/",)),
)
"""By what their frames' files begin with; the first that fits."""
OTHER = "event loop and rest"


@dataclass
class Shares:
    """Samples by process and part."""

    samples: dict[str, Counter[str]] = field(default_factory=dict)

    def table(self) -> str:
        """Markdown: a row a part, a column a process, per cent of that process's samples."""
        names = list(self.samples)
        lines = [f"| part | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for part in (*(name for name, _ in PARTS), OTHER):
            cells = [f"{100 * self.share(name, part):.0f} %" for name in names]
            lines.append(f"| {part} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def share(self, process: str, part: str) -> float:
        """From 0 to 1."""
        samples = self.samples[process]
        return samples[part] / max(1, samples.total())


@contextmanager
def profiled(processes: Mapping[str, int]) -> Iterator[Shares]:
    """Shares that are filled when the block ends. `processes` are process ids by name."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise SystemExit("py-spy is not installed: make dev")
    shares, home = Shares(), Path(tempfile.mkdtemp(prefix="breezeblock-profile-"))
    watching = {
        name: subprocess.Popen(
            [
                *(spy, "record", "--pid", str(pid), "--nonblocking", "--gil", "--format", "raw"),
                *("--rate", str(SAMPLES_A_SECOND), "--duration", "3600"),
                *("--output", home / f"{name}.raw"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, pid in processes.items()
    }
    try:
        yield shares
    finally:
        for process in watching.values():
            process.send_signal(signal.SIGINT)
        for process in watching.values():
            process.wait()
        for name in watching:
            if (told := home / f"{name}.raw").exists():
                shares.samples[name] = _counted(told.read_text())
        shutil.rmtree(home)


def _counted(stacks: str) -> Counter[str]:
    """py-spy's lines: frames from the outermost to the innermost, and how often they were seen."""
    samples: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        samples[_part_of(stack)] += int(count)
    return samples


def _part_of(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        file = frame.rpartition("(")[2]
        for part, beginnings in PARTS:
            if file.startswith(beginnings):
                return part
    return OTHER
