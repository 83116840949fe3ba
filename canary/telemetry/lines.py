"""Log lines for lean processes: standard logging as JSON on stderr, without structlog (which costs 20 MB of memory)."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from canary.telemetry.secrets import hide

LEVEL: Final = "CANARY_LOG_LEVEL"
FORMAT: Final = "CANARY_LOG_FORMAT"  # json | text; otherwise text on a terminal, JSON elsewhere
_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def speaks_text() -> bool:
    """True where people read stderr themselves."""
    wanted = os.environ.get(FORMAT, "")
    return wanted == "text" if wanted in {"json", "text"} else sys.stderr.isatty()


def level() -> int:
    """The level from the environment; INFO where it names none."""
    found = logging.getLevelNamesMapping().get(os.environ.get(LEVEL, "info").upper())
    return logging.INFO if found is None else found


class Lines(logging.Formatter):
    """One record, one line: `at`, `level`, `process`, `event`, then the fields given by `extra`."""

    def __init__(self, process: str, *, text: bool) -> None:
        super().__init__()
        self._process = process
        self._text = text

    def format(self, record: logging.LogRecord) -> str:
        """The line, safe to write."""
        fields: dict[str, Any] = {"event": record.getMessage()}
        fields |= {k: v for k, v in vars(record).items() if k not in _RECORD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        fields = hide(fields)
        at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        if self._text:
            event, trace = fields.pop("event"), fields.pop("traceback", "")
            rest = "".join(f" {k}={v}" for k, v in fields.items())
            tail = f"\n{trace}" if trace else ""
            return f"{at[11:23]} {record.levelname.lower():7} {self._process}: {event}{rest}{tail}"
        head = {"at": at, "level": record.levelname.lower(), "process": self._process}
        return json.dumps(head | fields, ensure_ascii=False, default=str)


def setup_lines(process: str) -> None:
    """Sends all standard logging to stderr, one line a record; may be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(process, text=speaks_text()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level())
    for noisy in ("aiohttp.access", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level(), logging.WARNING))
