"""Prints what stestr has recorded of its last run; runs in `.venv-openstack`.

    python -P results.py DIRECTORY-OF-STESTR

One JSON object a line: `id`, `status` (success, skip, fail, …), `reason` of what did not succeed.
"""

from __future__ import annotations

import json
import sys

import subunit
import testtools
from stestr.repository.util import get_repo_open


def main() -> None:
    run = get_repo_open(repo_url=sys.argv[1]).get_latest_run()
    result = testtools.StreamToDict(tell)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(run.get_subunit_stream()).run(result)
    result.stopTestRun()


def tell(test):
    if test["status"] == "exists":
        return
    print(json.dumps({"id": test["id"], "status": test["status"], "reason": reason(test)}))


def reason(test):
    """What the test says of itself: why it was skipped, or its traceback."""
    details = test["details"]
    for name in ("reason", "traceback", *sorted(details)):
        if name in details and details[name].content_type.type == "text":
            text = details[name].as_text().strip()
            if text:
                return text
    return ""


if __name__ == "__main__":
    main()
