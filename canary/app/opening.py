"""How a process gets its database: the embedded server joined or started, the tables brought up to date, the pool opened."""

import asyncio
from collections.abc import Mapping

import structlog

from canary.app.home import EMBEDDED, Home
from canary.errors import StoreAway
from canary.store.database import Database
from canary.store.embedded import EmbeddedPostgres

_PAUSES_S = (0.1, 0.2, 0.5, 1.0)


class Opening:
    """One process' way to Postgres. Sharing the embedded server keeps it alive until its last user has ended."""

    def __init__(self, home: Home, *, env: Mapping[str, str]) -> None:
        self._url = home.database(env)
        self._embedded = EmbeddedPostgres(home.state_dir) if self._url == EMBEDDED else None
        self._upgraded = False
        self._log = structlog.get_logger("canary.store")

    async def open(self) -> Database:
        """A pool on up-to-date tables; raises StoreAway or StoreError."""
        url = self._url
        if self._embedded is not None:
            url = await asyncio.to_thread(self._embedded.start)
            if not self._upgraded:
                from canary.store.migrate import upgrade  # its libraries cost the start 0.3 s; others do without

                # A server elsewhere is upgraded by `canary db upgrade`, when its owner says so
                await asyncio.to_thread(upgrade, url)
                self._upgraded = True
        return await Database.open(url)

    async def open_when_there(self, stop: asyncio.Event) -> Database | None:
        """Tries until it is there, or `stop` is set (then None); says once that it waits."""
        said, tries = "", 0
        while not stop.is_set():
            try:
                return await self.open()
            except StoreAway as away:
                if str(away) != said:
                    self._log.warning("waiting for Postgres", reason=str(away), hint=away.hint)
                    said = str(away)
            await _pause(stop, _PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1
        return None

    async def leave(self) -> None:
        """Ends this process' use; the last user stops the embedded server."""
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
