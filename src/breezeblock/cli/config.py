"""`breezeblock config`: the options, as they stand."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from breezeblock.config import load


def config(
    *,
    secrets: bool = False,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")] = None,
) -> None:
    """Print every option with its present value and its meaning, as a TOML file.

    Parameters
    ----------
    secrets
        Show passwords, tokens and keys, too; without it they are printed as ***.
    file
        The TOML file to read; without one the defaults are printed.
    """
    present = load(file)
    values = msgspec.to_builtins(present)
    shown = values if secrets else _without_secrets(values)
    print("\n".join(_section(type(present), shown, "")))


_SECRET = re.compile(r"password$|token$|secret")
_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/\s]*@")


def _without_secrets(value: Any, name: str = "") -> Any:
    """Options by their names, drivers' among them, and passwords in URLs."""
    if isinstance(value, dict):
        return {key: _without_secrets(one, key) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one, name) for one in value]
    if not isinstance(value, str) or not value:
        return value
    return "***" if _SECRET.search(name) else _IN_URL.sub(r"\1:***@", value)


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
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings: dict[str, str] = {}
    for option, text in pairwise(body.body):
        if (
            isinstance(option, ast.AnnAssign)
            and isinstance(option.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            meanings[option.target.id] = " ".join(str(text.value.value).split())
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
