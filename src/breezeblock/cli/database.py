"""`breezeblock database`: how the databases stand to this release, and bringing them up to date.

Processes do that themselves when they start, unless `migrate_at_start = false`: then the operator
chooses the moment, with `breezeblock database upgrade`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import cyclopts
import msgspec
from cyclopts import Parameter

from breezeblock.cli import logs
from breezeblock.config import Config, ConfigError, load
from breezeblock.store import schema
from breezeblock.store.store import Store, StoreUnavailable

FINE, NOT_USABLE = 0, 1
"""Exit codes of `status`."""

T = TypeVar("T")

app = cyclopts.App(name="database", help="The databases' schema: its state, and upgrading it.")

File = Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")]


@app.command
def status(*, json: bool = False, data: Path | None = None, file: File = None) -> None:
    """Say which schema each database has and whether this release can use it; changes nothing.

    Exit code 0: processes of this release run on it as it is. 1: it is to be upgraded, or is too
    new for this release. 2: it could not be looked at.

    Parameters
    ----------
    json
        Print one JSON document instead of text.
    data
        The service's data directory.
    file
        The service's configuration file.
    """
    found = _each(_configured(data, file), schema.state)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        for name, state in found.items():
            print(f"{name}: {_told(state)}")
    usable = all(state.usable for state in found.values())
    raise SystemExit(FINE if usable else NOT_USABLE)


@app.command
def upgrade(*, data: Path | None = None, file: File = None) -> None:
    """Run the migrations that are pending, while older processes go on.

    Parameters
    ----------
    data
        The service's data directory.
    file
        The service's configuration file.
    """
    logs.set_up("warning")
    for name, run in _each(_configured(data, file), schema.upgrade).items():
        print(f"{name}: {'ran ' + ', '.join(run) if run else 'nothing to do'}")


def _configured(data: Path | None, file: Path | None) -> Config:
    config = load(file)
    return msgspec.structs.replace(config, data=str(data)) if data else config


def _each(config: Config, do: Callable[[Store], T]) -> dict[str, T]:
    """What it says of each database; they may be one. Raises ConfigError."""
    urls = {config.database_url: "block storage"}
    urls.setdefault(config.compute_database_url, "compute")
    said = {}
    for url, name in urls.items():
        store = Store(url, threads=1)
        try:
            said[name] = do(store)
        except (StoreUnavailable, schema.SchemaMismatch) as error:
            raise ConfigError(f"{name}: {error}") from None
        finally:
            store.close()
    return said


def _told(state: schema.State) -> str:
    if state.newer:
        verdict = "can be used" if state.usable else "CANNOT be used"
        return (
            f"schema {state.revision}, newer than this release ({state.code}); it {verdict}: "
            f"it is for releases from {state.oldest_code} on"
        )
    if state.pending:
        return f"schema {state.revision or 'empty'}; to be run: {', '.join(state.pending)}"
    return f"schema {state.revision}, up to date; releases from {state.oldest_code} on can use it"
