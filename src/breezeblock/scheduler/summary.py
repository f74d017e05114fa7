"""A ranking as text: for the operator with names, for the user without.

Called by `Ranking.summary` only. Users must not learn how hosts, backends and pools are called
(the facts hide `host` from them too), but the numbers help them as much as anybody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

FOR_USERS = {
    "CapabilitiesFilter": "it has not what the volume type asks for",
    "DriverFilter": "its own rule does not take the volume",
}
"""What users read where the reason would quote extra specs and rules that they may not see."""

Refused = tuple[str, str, str]
"""Pool, filter, reason."""

_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*(?:@[^\s'\"]*)?")


def summarise(
    candidates: Sequence[str],
    refusals: Sequence[Refused],
    *,
    counts: tuple[int, int],
    for_user: bool,
    limit: int,
) -> str:
    """One line that says how many pools fit, then reasons of the others; `counts` are those that
    fit and those that do not."""
    names = [*candidates, *(pool for pool, _, _ in refusals)]
    lines = _anonymous(refusals, _hider(names)) if for_user else _named(refusals)
    shown = lines[:limit]
    if len(lines) > limit:
        shown.append(f"… and {len(lines) - limit} more")
    return "\n".join([_headline(candidates, *counts, for_user=for_user), *shown])


def _headline(candidates: Sequence[str], fit: int, refused: int, *, for_user: bool) -> str:
    if not fit and not refused:
        return "No backend has reported a pool yet."
    text = f"{fit} of {fit + refused} pools can take the request"
    if candidates and not for_user:
        text += f", best {candidates[0]}"
    return f"{text}{':' if refused else '.'}"


def _named(refusals: Iterable[Refused]) -> list[str]:
    return [f"{pool}: {name}: {reason}" for pool, name, reason in refusals]


def _anonymous(refusals: Iterable[Refused], hide: Callable[[str], str]) -> list[str]:
    reasons = Counter(
        f"{name}: {FOR_USERS.get(name) or hide(reason)}" for _, name, reason in refusals
    )
    return [
        f"{count} pool{'s' if count > 1 else ''}: {text}" for text, count in reasons.most_common()
    ]


def _hider(names: Iterable[str]) -> Callable[[str], str]:
    """Reasons name no hosts themselves, but may quote an expression or a capability that does."""
    hosts = {name.partition("@")[0] for name in names}

    def word(match: re.Match[str]) -> str:
        return "…" if match.group().partition("@")[0] in hosts else match.group()

    return lambda reason: _NAME.sub(word, reason)
