"""What a reader has to know of where figures come from: the machine, the code, what is durable."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from bench.cinder import Cinder
from bench.cinder_engines import asked

from breezeblock.store.store import Store

REPOSITORY = Path(__file__).parents[1]
ADDITIONS = 10_000_000


def facts() -> dict[str, Any]:
    """The machine, and the commit that is measured."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "ten_million_additions_s": round(calibration(), 2),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def calibration() -> float:
    """Processor seconds of ten million additions: machines are compared by it. The best of two."""
    return min(_additions() for _ in range(2))


def _additions() -> float:
    began, total = time.process_time(), 0
    for number in range(ADDITIONS):
        total += number
    return time.process_time() - began


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


DURABLE = {
    "sqlite": ("PRAGMA journal_mode", "PRAGMA synchronous"),
    "postgresql": ("SHOW fsync", "SHOW synchronous_commit", "SHOW full_page_writes"),
}
MARIADB = ("innodb_flush_log_at_trx_commit", "innodb_doublewrite", "log_bin")


def durability(database: str) -> dict[str, str]:
    """What the database itself says, asked over a connection such as our services have."""
    store = Store(database)
    try:
        with store.engine.connect() as connection:
            return {
                question: str(connection.execute(sa.text(question)).scalar())
                for question in DURABLE["sqlite" if store.is_sqlite else "postgresql"]
            }
    finally:
        store.close()


def durability_of_cinder(running: Cinder) -> dict[str, str]:
    """The same of its MariaDB."""
    return {name: asked(running.mariadb, f"SELECT @@{name}") for name in MARIADB}
