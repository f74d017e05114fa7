"""How many descriptors a process asks for, and how many of them connections may have."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from breezeblock.web.connections import Limits
from breezeblock.web.descriptors import DESCRIPTORS, raise_descriptor_limit

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit of this process, whose soft one is low meanwhile."""
    before = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (600, before[1]))
    yield before[1]
    resource.setrlimit(FILES, before)


def test_the_limit_is_raised_as_far_as_allowed_and_needed(hard: int) -> None:
    raise_descriptor_limit()
    assert resource.getrlimit(FILES) == (min(hard, DESCRIPTORS), hard)


def test_a_limit_that_is_higher_is_left_alone(hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("breezeblock.web.descriptors.DESCRIPTORS", 500)
    raise_descriptor_limit()
    assert resource.getrlimit(FILES) == (600, hard)


@pytest.mark.usefixtures("hard")
def test_two_apis_leave_descriptors_to_the_process() -> None:
    assert Limits().connections == 200
