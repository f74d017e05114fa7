"""`breezeblock config`: the options, as they stand."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from breezeblock.config import load


def config(
    *,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")] = None,
) -> None:
    """Print every option with its present value and its meaning, as a TOML file.

    Parameters
    ----------
    file
        The TOML file to read; without one the defaults are printed.
    """
    present = load(file)
    print("\n".join(_section(type(present), msgspec.to_builtins(present), "")))


def _section(struct: type[msgspec.Struct], values: dict[str, Any], prefix: str) -> list[str]:
    """Plain options first, then the tables below, each with its own heading."""
    meanings = _meanings(struct)
    lines: list[str] = []
    tables: list[str] = []
    for field in msgspec.structs.fields(struct):
        value = values[field.encode_name]
        path = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            about = inspect.getdoc(field.type) or ""
            tables += ["", *_comment(about), f"[{path}]", *_section(field.type, value, f"{path}.")]
            continue
        lines += _comment(meanings.get(field.name, ""))
        lines.append(f"{field.name} = {_toml(value)}")
    return lines + tables


def _meanings(struct: type) -> dict[str, str]:
    """The text below each option in the source: kept there, so it cannot grow apart."""
    source = textwrap.dedent(inspect.getsource(struct)).splitlines()
    meanings: dict[str, str] = {}
    name, text, inside = "", "", False
    for line in source:
        stripped = line.strip()
        if not inside and ":" in stripped and not stripped.startswith(('"""', "class", "def", "@")):
            name = stripped.partition(":")[0]
        if stripped.startswith('"""') or inside:
            text = f"{text} {stripped.strip(chr(34))}".strip()
            closes = stripped.endswith('"""') and (inside or len(stripped) > 5)
            inside = not closes
            if closes:
                if name:
                    meanings[name] = text
                text = ""
    return meanings


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 96)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return msgspec.json.encode(value).decode()
