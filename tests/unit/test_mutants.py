"""The deliberate defects stay usable: each is described, and still fits the code.

That the tests notice them is shown by `make mutants`, which takes longer.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
DEFECTS = TOOL.defects()


def test_there_are_enough_defects() -> None:
    assert len(DEFECTS) >= 20


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda one: str(one.name))
def test_a_defect_names_its_tests_and_still_fits_the_code(defect: object) -> None:
    tests = [one for one in defect.tests if one.startswith("tests/")]  # type: ignore[attr-defined]
    assert tests
    assert all((ROOT / one.partition("::")[0]).exists() for one in tests)
    assert TOOL.fits(defect), f"{defect} does not apply any more"
