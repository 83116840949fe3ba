"""The child's end of the control socket: a word from the supervisor, or its end, becomes an event here."""

import asyncio
import signal
import socket
from collections.abc import Callable

from canary.app.children import DRAIN, READY, RELOAD


class Leash:
    """Sets `stop` when the supervisor asks for it or is gone; calls `on_reload` when it asks for that."""

    def __init__(self, stop: asyncio.Event, *, on_reload: Callable[[], None] | None = None) -> None:
        self._stop = stop
        self._on_reload = on_reload or _nothing
        self._control: socket.socket | None = None

    def hold(self, control_fd: int | None) -> None:
        """Listens to the supervisor where there is one, and to SIGTERM, SIGINT and SIGHUP in any case."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        if control_fd is not None:
            self._control = socket.socket(fileno=control_fd)
            self._control.setblocking(False)
            loop.add_reader(self._control, self._heard)

    def ready(self) -> None:
        """Tells the supervisor that this process serves."""
        if self._control is not None:
            try:
                self._control.send(READY + b"\n")
            except OSError:
                self._stop.set()

    def let_go(self) -> None:
        """Stops listening."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        if self._control is not None:
            loop.remove_reader(self._control)
            self._control.close()
            self._control = None

    def _heard(self) -> None:
        assert self._control is not None
        try:
            words = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if RELOAD in words:
            self._on_reload()
        if not words or DRAIN in words:
            self._stop.set()
            asyncio.get_running_loop().remove_reader(self._control)


def _nothing() -> None:
    """The reload of a process that has nothing to read again."""
