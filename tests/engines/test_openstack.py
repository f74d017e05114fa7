"""The private Glance stores what it is given, for whoever says he is its owner."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.engines import openstack as openstack_module
from tests.engines.glance import Glance
from tests.engines.process import EngineMissing


def test_an_image_comes_back_as_it_was_and_belongs_to_the_project_that_made_it(
    glance: Glance,
) -> None:
    content = bytes(range(256)) * 4096
    with httpx2.Client(base_url=f"{glance.endpoint}/v2", timeout=30) as http:
        http.headers["X-Auth-Token"] = "ada:abba"
        described = {"name": "bytes", "disk_format": "raw", "container_format": "bare"}
        image = http.post("/images", json=described).json()
        http.put(
            f"/images/{image['id']}/file",
            content=iter([content[:70_000], content[70_000:]]),
            headers={"Content-Type": "application/octet-stream"},
        ).raise_for_status()

        found = http.get(f"/images/{image['id']}").json()
        assert (found["status"], found["size"]) == ("active", len(content))
        assert found["owner"] == "abba"
        assert http.get(f"/images/{image['id']}/file").content == content


def test_a_missing_environment_is_named_by_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openstack_module, "ENVIRONMENT", tmp_path / ".venv-openstack")
    with pytest.raises(EngineMissing, match="make openstack"):
        Glance()
