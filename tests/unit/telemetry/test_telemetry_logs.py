"""What a log line holds, and what it never holds."""

import json
import logging
import subprocess
import sys

import pytest

from canary.telemetry.lines import Lines
from canary.telemetry.secrets import HIDDEN, hide, without_secrets


def _record(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("canary", logging.WARNING, __file__, 1, message, (), None)
    vars(record).update(fields)
    return record


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer abcdefgh"),
        ("admin_token", "s3cr3t"),
        ("Cookie", "a=b"),
        ("x-api-key", "s3cr3t"),
        ("password", "s3cr3t"),
        ("headers", {"authorization": "s3cr3t"}),
        ("headers", [{"set-cookie": "s3cr3t"}]),
        ("database_url", "postgresql://u:s3cr3t@h/db"),
        ("event", "cannot reach postgresql://u:s3cr3t@h/db"),
        ("event", "password=s3cr3t host=h"),
        ("event", "sent Authorization: Bearer s3cr3ts3cr3t"),
    ],
)
def test_secrets_are_hidden(name: str, value: object) -> None:
    assert "s3cr3t" not in json.dumps(hide({name: value}))


def test_what_is_no_secret_stays() -> None:
    fields = {"output_tokens": 12, "route": "chat", "upstream": "http://127.0.0.1:9001/v1", "paused": True, "token": None}
    assert hide(fields) == fields


def test_an_address_keeps_its_host_and_user() -> None:
    assert without_secrets("postgresql://u:pw@h:5432/db") == f"postgresql://u:{HIDDEN}@h:5432/db"


def test_a_lean_line_is_one_json_object() -> None:
    line = Lines("worker-0", text=False).format(_record("draining", open_exchanges=3, token="s3cr3t"))
    found = json.loads(line)
    assert "\n" not in line
    assert {k: found[k] for k in ("level", "process", "event", "open_exchanges", "token")} == {
        "level": "warning",
        "process": "worker-0",
        "event": "draining",
        "open_exchanges": 3,
        "token": HIDDEN,
    }


def test_text_for_people_has_no_json() -> None:
    line = Lines("worker-0", text=True).format(_record("draining", open_exchanges=3))
    assert line.endswith("warning worker-0: draining open_exchanges=3")


def test_structlog_and_standard_logging_write_the_same_shape_to_stderr_only() -> None:
    code = (
        "import logging, structlog\n"
        "from canary.telemetry.logs import setup_logs\n"
        "setup_logs('courier')\n"
        "structlog.get_logger().warning('pg away', dsn='s3cr3t', seconds=3)\n"
        "logging.getLogger('x').warning('std %s', 'word')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: structlog.get_logger().exception('broke')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    first, second, third = [json.loads(line) for line in done.stderr.splitlines()]
    assert (first["process"], first["level"], first["event"], first["dsn"], first["seconds"]) == (
        "courier",
        "warning",
        "pg away",
        HIDDEN,
        3,
    )
    assert (second["process"], second["event"]) == ("courier", "std word")
    assert "ZeroDivisionError" in third["exception"]


def test_lean_lines_do_not_load_structlog() -> None:
    code = "import sys; from canary.telemetry import lines, guard; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
