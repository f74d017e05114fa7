"""How many file descriptors a process has, and how many of them HTTP connections may take."""

from __future__ import annotations

import resource

DESCRIPTORS = 65536
"""How many a process asks for. Not all that it may have: that can be a thousand million in a
container, and there are programs (ours inherit it) which go through all of them."""


def raise_descriptor_limit() -> None:
    """Take what the system lets us have, up to `DESCRIPTORS`: many shells begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_of_descriptors() -> int:
    """A third: two APIs may be in one process, and the last third is for its own work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) // 3
