"""Log lines: one object a line in JSON, and no values of variables in tracebacks of any format.

In processes of their own, as the logging of a process is set up once.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

SCRIPT = """
import logging, sys, threading, warnings
import structlog
from breezeblock.cli import logs

logs.set_up("info", sys.argv[1])
logs.take_what_is_printed()


def fail():
    password = "hunter" + str(2)
    raise ValueError("bad\\nnews")


with structlog.contextvars.bound_contextvars(request_id="req-1", operation="op-1", epoch=3):
    try:
        fail()
    except ValueError:
        logging.getLogger("uvicorn.error").exception("of a %s", "library")
        structlog.get_logger().exception("of ours\\nin two lines")
    logging.getLogger("aio_pika").error("with a stack", stack_info=True)
    warnings.warn("old")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""

LIBRARIES = (
    *("uvicorn.error", "uvicorn.access", "httpx2", "httpcore2", "aio_pika", "aiormq", "pamqp"),
    *("sqlalchemy.engine.Engine", "sqlalchemy.pool", "psycopg", "asyncio", "any"),
)


def printed(format_: str, script: str = SCRIPT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, format_], capture_output=True, text=True, check=True
    )
    assert not done.stdout
    return done.stderr


def shown_on_a_terminal() -> str:
    """What the script prints where people watch: another format, with colours."""
    terminal, its_end = pty.openpty()
    shown = b""
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "console"], stderr=its_end) as process:
        os.close(its_end)
        with suppress(OSError):  # EIO: the other end is closed
            while more := os.read(terminal, 65536):
                shown += more
    os.close(terminal)
    assert process.returncode == 0
    return shown.decode()


def test_json_is_one_object_a_line_whatever_is_logged_and_by_whom() -> None:
    lines = [json.loads(line) for line in printed("json").splitlines()]
    assert [line["event"] for line in lines[:3]] == [
        "of a library",
        "of ours\nin two lines",
        "with a stack",
    ]
    assert "old" in lines[3]["event"]
    assert lines[4]["event"] == "thread ended"
    assert len(lines) == 5
    assert all(line["level"] and line["timestamp"] for line in lines)
    for line in lines[:4]:
        assert (line["request_id"], line["operation"], line["epoch"]) == ("req-1", "op-1", 3)
    for failed in (lines[0], lines[1], lines[4]):
        assert failed["exception"].endswith("ValueError: bad\nnews")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_tracebacks_tell_no_values_of_variables(format_: str) -> None:
    text = printed(format_)
    assert text.count("Traceback") == 3
    assert "hunter2" not in text


def test_tracebacks_on_a_terminal_tell_none_either() -> None:
    text = shown_on_a_terminal()
    assert text.count("Traceback") == 3 and "\x1b[" in text
    assert "hunter2" not in text


def test_libraries_are_not_asked_for_more_than_warnings() -> None:
    """Not even at the level debug: they would log headers, addresses and values of SQL."""
    script = f"""
import logging, sys
from breezeblock import log_level
from breezeblock.cli import logs, run

logs.set_up("debug", sys.argv[1])
log_level.change("debug")
for name in {LIBRARIES}:
    for level in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), level)("%s: %s", name, level)
"""
    lines = [json.loads(line)["event"] for line in printed("json", script).splitlines()]
    assert lines == [f"{name}: warning" for name in LIBRARIES]
