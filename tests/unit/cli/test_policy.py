"""`breezeblock policy`: a policy.yaml to begin with, and what is wrong in an operator's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from breezeblock.api.routes import ROUTES
from breezeblock.auth.policy_file import overrides
from breezeblock.auth.rules import BASE, DECIDES, DEFAULTS
from breezeblock.cli.policy import policy
from breezeblock.compute.api import policy as compute
from breezeblock.config import ConfigError


def sample(capsys: pytest.CaptureFixture[str]) -> str:
    policy()
    return capsys.readouterr().out


def test_every_line_is_a_comment_and_all_lines_are_the_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = sample(capsys)
    assert overrides(text) == {}
    taken_in = re.sub(r'(?m)^#(?=")', "", text)
    assert overrides(taken_in) == {**BASE, **DEFAULTS, **compute.DEFAULTS}


def test_what_it_prints_is_a_good_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(re.sub(r'(?m)^#(?=")', "", sample(capsys)))
    policy(check=path)
    assert capsys.readouterr().out == f"{path}: nothing is wrong\n"


def test_every_rule_says_what_it_decides_about() -> None:
    assert all({**DECIDES, **compute.DECIDES}.values())
    served = {re.sub(r"\{\w+\}", "{}", route.describe()) for route in ROUTES}
    told = {
        re.sub(r"\{\w+\}", "{}", call) for text in DECIDES.values() for call in text.split("; ")
    }
    named = {name for name in served if not name.startswith("GET /operations")}
    unnamed = named - {re.split(r"[,?:] |,", call)[0] for call in told}
    assert unnamed == {
        "GET /attachments",
        "GET /attachments/detail",
        "GET /attachments/{}",
        "GET /extensions",
        "GET /extensions/{}",
        "GET /os-availability-zone",
        "GET /resource_filters",
        "GET /types/default",
        "PUT /os-services/failover",
    }


def test_what_is_wrong_is_told_and_the_exit_code_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"volume:creat": "@"\n"os_compute_api:servers:show": "role:a and"\n')
    with pytest.raises(SystemExit) as ended:
        policy(check=path)
    first, second = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1
    assert first.startswith(f"{path}: volume:creat is no rule of this service")
    assert second.startswith(f"{path}: os_compute_api:servers:show: 'role:a and'")


@pytest.mark.parametrize("text", [None, "a: [", "- a"])
def test_what_is_no_policy_at_all_is_a_configuration_error(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"policy\.yaml: "):
        policy(check=path)
