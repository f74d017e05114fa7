"""What a release writes down and reads back while work goes on: its workflows, as plain data.

Run as a program in the release's own environment, it prints them as JSON: for each workflow the
names of its steps and the JSON schema of its data. `test_records.py` compares two releases.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from breezeblock.compute.workflows.registry import REGISTRY as COMPUTE
from breezeblock.workflows.registry import REGISTRY as STORAGE


def described() -> dict[str, Any]:
    return {
        workflow.name: {"steps": list(workflow.names), "data": msgspec.json.schema(workflow.data)}
        for registry in (STORAGE, COMPUTE)
        for workflow in registry
    }


if __name__ == "__main__":
    json.dump(described(), sys.stdout)
