"""`breezeblock policy`: the rules of both APIs as a policy.yaml to begin with, and its check."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from breezeblock.auth.operators_file import OperatorsFile
from breezeblock.auth.policy_file import overrides, problems
from breezeblock.auth.rules import BASE, DECIDES, DEFAULTS
from breezeblock.compute.api import policy as compute
from breezeblock.config import ConfigError

HEAD = """\
Who may do what. Every line is the default, as a comment: take the # away, change it, and name the
file in auth.policy_file. "@" is everybody, "!" nobody, role:NAME whoever has the role,
project_id:%(project_id)s the project that owns it, rule:NAME what another line says.\
"""


def policy(*, check: Annotated[Path | None, Parameter(name="--check")] = None) -> None:
    """Print every rule with its default and the calls that it decides about, as a policy.yaml.

    Parameters
    ----------
    check
        Say what is wrong in this file instead; exit code 1 when something is.
    """
    if check is None:
        print("\n".join(_sample()))
        return
    wrong = _wrong(check)
    print("\n".join(f"{check}: {one}" for one in wrong) if wrong else f"{check}: nothing is wrong")
    if wrong:
        raise SystemExit(1)


def _wrong(path: Path) -> list[str]:
    """What is wrong in single rules. Raises ConfigError when the file is no policy at all."""
    rules = {**BASE, **DEFAULTS, **compute.DEFAULTS}
    try:
        found = OperatorsFile(path, overrides).present()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return list(problems(found, rules, rules.keys()))


def _sample() -> Iterator[str]:
    yield from _comment(HEAD)
    yield from _section("What other rules refer to", BASE, {})
    yield from _section("Block storage", DEFAULTS, DECIDES)
    yield from _section("Compute", compute.DEFAULTS, compute.DECIDES)


def _section(title: str, rules: Mapping[str, str], decides: Mapping[str, str]) -> Iterator[str]:
    yield f"\n# ---- {title} ----"
    for name in sorted(rules):
        yield ""
        for call in filter(None, decides.get(name, "").split("; ")):
            yield from _comment(call)
        yield f'#"{name}": "{rules[name]}"'


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 98)]
