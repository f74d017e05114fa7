"""`breezeblock` of tomorrow: today's code with one more migration, that expands."""

from __future__ import annotations

from pathlib import Path

from breezeblock.cli.main import main
from breezeblock.store import schema

schema.FOLDERS = (*schema.FOLDERS, Path(__file__).parent / "tomorrow")
main()
