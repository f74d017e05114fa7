"""docs/operating.md: what it tells operators to write is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from breezeblock.cli.run import STOP_SECONDS
from breezeblock.config import load
from breezeblock.services.process import ROLES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CREDENTIALS = {
    "database": "postgresql+psycopg://breezeblock:secret@db.example/breezeblock",
    "compute.database": "postgresql+psycopg://breezeblock:secret@db.example/breezeblock_compute",
    "bus": "amqp://breezeblock:secret@mq.example/",
    "auth.keystone.auth_url": "http://keystone.example:5000/v3",
    "auth.keystone.password": "secret",
}
"""What a snippet leaves to other places, as the page says."""


@pytest.mark.parametrize("snippet", TOML, ids=lambda text: text.splitlines()[0])
def test_a_piece_of_configuration_is_taken(snippet: str, tmp_path: Path) -> None:
    whole = snippet.replace('"$2b$12$…"', f'"$2b$12${"a" * 53}"')
    (tmp_path / "breezeblock.toml").write_text(whole)
    for name, text in CREDENTIALS.items():
        if not re.search(rf"^{name.rpartition('.')[2]} =", whole, re.MULTILINE):
            (tmp_path / f"breezeblock_{name}").write_text(text)
    load(tmp_path / "breezeblock.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_the_page_has_pieces_of_configuration() -> None:
    assert len(TOML) >= 5


def test_its_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    for path in re.findall(r"\]\(((?!#|https?:)[^)#]+)", PAGE):
        assert (ROOT / "docs" / path).exists(), path


def test_every_role_and_every_file_that_it_names_is_there() -> None:
    for role in ROLES:
        assert f"`breezeblock-{role}`" in PAGE
    for path in re.findall(r"\b(?:deploy|tests|tools)/[\w./-]*\w", PAGE):
        if path not in ("deploy/.env", "deploy/users"):  # which the operator makes
            assert (ROOT / path).exists(), path


def test_it_says_how_long_stopping_takes() -> None:
    assert f"it ends within {STOP_SECONDS:g} s" in PAGE
