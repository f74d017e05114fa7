"""Who works: names by which the lease of a dead process is told from that of a living one."""

from __future__ import annotations

import os
from pathlib import Path


def worker_name(host: str) -> str:
    """`host:pid:start`, unique for a process as long as its host's process table says so."""
    return f"{host}:{os.getpid()}:{_process_start(os.getpid())}"


def worker_lives(worker: str) -> bool:
    """Whether a worker of this host still runs."""
    _host, pid, start = worker.rsplit(":", 2)
    return _process_start(int(pid)) == start


def worker_of_host_is_dead(worker: str, host: str) -> bool:
    """Whether a worker was of this host and runs no more; of others nobody here can tell."""
    return worker.startswith(f"{host}:") and not worker_lives(worker)


def _process_start(pid: int) -> str:
    """The kernel's start time of a process (field 22 of its stat), "" when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rsplit(")", 1)[1].split()
    # A zombie waits to be reaped (nobody may, as pid 1 of a container): it works no more.
    return "" if state in "ZX" else fields[18]
