"""structlog as this project uses it: one line an event on stderr, JSON unless a person looks on, secrets never."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from canary.telemetry.lines import level, setup_lines, speaks_text
from canary.telemetry.secrets import hide


def setup_logs(process: str) -> None:
    """Sets up structlog and standard logging for a process of that name; may be called again."""
    setup_lines(process)
    text = speaks_text()
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp" if text else "at"),
            structlog.processors.StackInfoRenderer(),
            *(() if text else (structlog.processors.format_exc_info,)),
            _Named(process),
            _hide,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level()),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Named:
    """Adds the process' name to each line."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _log: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        fields.setdefault("process", self._process)
        return fields


def _hide(_log: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last step before rendering; what tracebacks need stays as it is."""
    raw = {k: fields.pop(k) for k in ("exc_info",) if k in fields}
    return {**hide(dict(fields)), **raw}
