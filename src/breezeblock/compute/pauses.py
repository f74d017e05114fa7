"""How long an agent waits before it asks once more for what has to be done in the end."""

from __future__ import annotations

LONGEST = 10.0
"""Seconds. A service that was away shall not be waited for much longer than it was away."""


def pause_after(attempts: int) -> float:
    """Seconds to wait after so many attempts."""
    return min(2.0 ** min(attempts, 10), LONGEST)
