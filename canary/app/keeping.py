"""Keeps the embedded Postgres running: a killed server is started again, on a thread so that no worker waits for it."""

import logging
import threading
from typing import Final, Protocol

from canary.app.restarts import History, after_death, delay_s
from canary.errors import CanaryError

_LOG: Final = logging.getLogger("canary.supervisor")
_EVERY_S: Final = 0.5


class Server(Protocol):
    """The embedded Postgres as the supervisor sees it."""

    def start(self) -> object:
        """Starts the server, or finds it running; raises StoreError."""
        ...

    def running(self) -> bool:
        """True while the server process lives."""
        ...

    def stop(self) -> None:
        """Stops it if nobody else uses it."""
        ...


class Kept:
    """A server that is looked at twice a second and started again where it died."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._looked_at = 0.0
        self._started_at = 0.0
        self._due_at: float | None = None
        self._history = History()
        self._starting: threading.Thread | None = None

    def look(self, now: float) -> None:
        """Never blocks: a restart runs on its own thread."""
        if now - self._looked_at < _EVERY_S or (self._starting is not None and self._starting.is_alive()):
            return
        self._looked_at = now
        if self._server.running():
            self._due_at = None
            return
        if self._due_at is None or self._starting is not None:
            self._history = after_death(self._history, lived_s=now - self._started_at, now=now)
            self._due_at = now + delay_s(self._history)
            self._starting = None
            _LOG.warning("Postgres ended and starts again", extra={"restart_in_s": round(self._due_at - now, 2)})
        if now >= self._due_at:
            self._started_at = now
            self._starting = threading.Thread(target=self._start, name="postgres-start", daemon=True)
            self._starting.start()

    def stop(self) -> None:
        """Waits for a start under way, then stops the server."""
        if self._starting is not None:
            self._starting.join(timeout=30.0)
        try:
            self._server.stop()
        except CanaryError as error:
            _LOG.error("Postgres did not stop", extra={"reason": str(error)})

    def _start(self) -> None:
        try:
            self._server.start()
        except CanaryError as error:
            _LOG.error("Postgres does not start", extra={"reason": str(error), "hint": error.hint})
