"""A child's place: the process that fills it now, its queue, and the history of those before."""

import socket
import time
from typing import Final

from canary.app.children import Child, Spec
from canary.app.restarts import History, Queue, after_death, delay_s

_FIRST_START_S: Final = 10.0
"""Grace for the first start, when all workers begin together on a cold machine; a death ends it at once."""


class Slot:
    """One child over its lives."""

    def __init__(self, spec: Spec, listener: socket.socket | None) -> None:
        self.spec = spec
        self.listener = listener
        self.child: Child | None = None
        self.history = History()
        self.due_at = 0.0  # monotonic instant of the next start, where no child runs
        self.lent_to: set[str] = set()
        self._unserved_since: float | None = time.monotonic() + _FIRST_START_S
        self._restart_failed = False

    @property
    def ready(self) -> bool:
        """True where a child runs and said so."""
        return self.child is not None and self.child.ready

    @property
    def serves(self) -> bool:
        """True where it may take another queue beside its own."""
        return self.listener is not None and self.ready

    def start(self) -> Child:
        """Starts the next life; raises OSError."""
        self.child = Child(self.spec, listener=self.listener)
        return self.child

    def died(self, now: float, *, alone: bool) -> None:
        """Takes note of a death and sets when the next life is due; `alone`: no other worker could serve its queue."""
        was_ready = self.ready
        lived_s = now - self.child.started_at if self.child is not None else 0.0
        if self.child is not None:
            self.child.close()
        self.child = None
        self.history = after_death(self.history, lived_s=lived_s, now=now)
        self.due_at = now + delay_s(self.history, unserved=alone)
        self._restart_failed = not was_ready
        if was_ready or self._unserved_since is None or self._unserved_since > now:
            self._unserved_since = now

    def close_queue(self) -> None:
        """Gives up our hold of the queue: nobody comes back to it, whoever connects now is refused, not left waiting."""
        if self.listener is not None:
            self.listener.close()

    def queue(self) -> Queue:
        """How its listening socket is served now."""
        if self.ready:
            self._unserved_since, self._restart_failed = None, False
        return Queue(since=self._unserved_since, restart_failed=self._restart_failed, lent_to=frozenset(self.lent_to))
