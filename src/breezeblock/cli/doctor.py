"""`breezeblock doctor`: what is wrong with a running deployment, and what to do about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from breezeblock.cli import logs
from breezeblock.config import load
from breezeblock.doctor.findings import Diagnosis, Finding
from breezeblock.doctor.visit import CannotLook, visit

HEALTHY, FINDINGS, CANNOT_LOOK = 0, 1, 2
"""Exit codes."""


def doctor(
    *,
    repair: bool = False,
    json: bool = False,
    wait: float = 60.0,
    data: Path | None = None,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")] = None,
) -> None:
    """Compare the database with itself and with what the backends hold, while services run.

    Exit code 0: all is well. 1: findings remain. 2: the database could not be looked at.

    Parameters
    ----------
    repair
        Put right what is safe; without it nothing is changed.
    json
        Print one JSON document instead of text.
    wait
        Seconds that a backend may take to say what it holds.
    data
        The service's data directory.
    file
        The service's configuration file.
    """
    logs.set_up("error")
    config = load(file)
    if data is not None:
        config = load(file, os.environ | {"BREEZEBLOCK_DATA": str(data)})
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        with console.status("Looking at the database and the backends"):
            diagnosis = asyncio.run(visit(config, repair=repair, patience=wait))
    except CannotLook as error:
        print(msgspec.json.encode({"error": str(error)}).decode() if json else error)
        raise SystemExit(CANNOT_LOOK) from None
    if json:
        print(msgspec.json.encode(diagnosis).decode())
    else:
        _show(console, diagnosis)
    raise SystemExit(HEALTHY if diagnosis.healthy else FINDINGS)


def _show(console: Console, diagnosis: Diagnosis) -> None:
    for backend, held in sorted(diagnosis.held.items()):
        counts = ", ".join(f"{kind}s {number}" for kind, number in sorted(held.items()))
        console.print(f"{backend}: {counts}")
    _list(console, "Repaired:", diagnosis.repaired, remedies=False)
    _list(console, "Findings:", diagnosis.findings, remedies=True)
    if diagnosis.healthy:
        console.print("All is well.")


def _list(console: Console, head: str, findings: Iterable[Finding], *, remedies: bool) -> None:
    lines = [f"  {one.text} {one.remedy if remedies else ''}".rstrip() for one in findings]
    if lines:
        console.print("\n".join([head, *lines]))
