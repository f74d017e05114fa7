"""docs/api-coverage.md says of every call which test covers it, and says the truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from breezeblock.api.routes import ROUTES
from tests.routes_touched import DOCUMENTS

ROOT = Path(__file__).parents[2]
RENEW = "`make coverage` renews it (`make coverage TESTS=<file>` runs those tests only)"


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PAGE = _tool("coverage")
CHOICE = _tool("covering_tests")
SERVED = sorted({one.name for several in PAGE.all_served(ROUTES).values() for one in several})


def test_every_route_is_covered_by_a_test() -> None:
    uncovered = [route for route in SERVED if route not in CHOICE.read()]
    assert not uncovered, f"no test is known to bring these to a success; {RENEW}"


def test_no_route_is_listed_that_is_not_served() -> None:
    assert set(CHOICE.read()) <= set(SERVED), RENEW


def test_every_covering_test_exists() -> None:
    missing = {test for test in CHOICE.read().values() if not CHOICE.exists(test)}
    assert not missing, RENEW


def test_a_test_that_does_not_exist_is_noticed() -> None:
    assert CHOICE.exists("tests/unit/test_api_coverage.py::test_every_covering_test_exists")
    assert not CHOICE.exists("tests/unit/test_api_coverage.py::test_every_covering")
    assert not CHOICE.exists("tests/unit/no_such_file.py::test_every_covering_test_exists")


def test_the_page_is_what_the_route_table_and_the_tests_say() -> None:
    page = (ROOT / "docs" / "api-coverage.md").read_text(encoding="utf-8")
    assert page == "\n".join(PAGE.report()) + "\n", RENEW


def test_the_documents_beside_the_table_are_watched_too() -> None:
    assert set(PAGE.BESIDE_THE_TABLE) == DOCUMENTS


@pytest.mark.parametrize(
    ("route", "test", "other"),
    [
        (
            "GET /types from 3.0",
            "tests/service/test_types.py::test_public_types_are_listed",
            "tests/service/test_quota_sets.py::test_public_types_are_listed",
        ),
        (
            "POST /volumes/{volume_id}/action (os-extend) from 3.0",
            "tests/service/test_volume_actions.py::test_extend",
            "tests/service/test_volume_actions.py::test_anything",
        ),
    ],
)
def test_the_test_is_chosen_whose_name_speaks_of_the_route(
    route: str, test: str, other: str
) -> None:
    assert CHOICE.choose({other: [route], test: [route, "GET /limits from 3.0"]})[route] == test


def test_between_equals_the_test_that_touches_the_least_is_chosen() -> None:
    route = "GET /types from 3.0"
    notes = {
        "tests/service/test_types.py::test_one": [route, "GET /limits from 3.0"],
        "tests/service/test_types.py::test_two": [route],
    }
    assert CHOICE.choose(notes)[route] == "tests/service/test_types.py::test_two"


def test_a_test_that_tries_all_routes_covers_none() -> None:
    blind = "tests/service/test_idempotency_crashes.py::test_each"
    assert CHOICE.choose({blind: ["GET /types from 3.0"]}) == {}
