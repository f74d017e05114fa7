"""`breezeblock config`: what it prints can be used as it is, and says what each option means."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.cli.config import config
from breezeblock.config import Config, load


def test_what_is_printed_loads_as_the_same_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config()
    path = tmp_path / "printed.toml"
    path.write_text(capsys.readouterr().out)
    assert load(path, {}) == Config()


def test_options_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    config()
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "Longest page of a list." in lines[lines.index("max_limit = 1000") - 1]
    assert "# The block storage API." in lines


def test_every_plain_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    config()
    lines = capsys.readouterr().out.splitlines()
    quota = lines.index("[quota]")  # the names of quotas are the wire's and say what they are
    options = [index for index, line in enumerate(lines) if " = " in line and line[0] != "#"]
    bare = [lines[index] for index in options if lines[index - 1][:1] != "#"]
    assert [line for line in bare if lines.index(line) not in range(quota, quota + 8)] == []


SECRETS = """
database = "postgresql+psycopg://breezeblock:db-secret@db.example/breezeblock"
bus = "amqps://breezeblock:mq-secret@mq.example/"
[images]
token = "image-secret"
[compute]
block_storage_password = "services-secret"
[[backends]]
name = "array"
driver = "netapp"
[backends.options]
netapp_login = "admin"
netapp_password = "array-secret"
chap_secret_key = "chap-secret"
"""


def test_secrets_are_printed_only_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(SECRETS)
    config(file=path)
    printed = capsys.readouterr().out
    assert "-secret" not in printed
    assert '"amqps://breezeblock:***@mq.example/"' in printed and '"admin"' in printed
    config(file=path, secrets=True)
    path.write_text(capsys.readouterr().out)
    assert load(path, {}).backends[0].options["chap_secret_key"] == "chap-secret"
