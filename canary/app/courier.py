"""The courier's process: carries outcomes up and plans down; lives on while Postgres is away."""

import asyncio
import os
import sys
import time
from typing import Final

import structlog

from canary.app.first import write_first_snapshot
from canary.app.home import Home
from canary.app.leash import Leash
from canary.app.listeners import refuse_open_admin
from canary.app.opening import Opening
from canary.app.process import run_process
from canary.courier.run import Place, run_courier
from canary.errors import StoreError
from canary.store.database import Database

PATIENCE_S: Final = 2.0
"""A database that is only late must win: what the file says may have been overtaken by a promotion."""


class _FirstWord:
    """Opens the database; where it stays away from a machine that has no snapshot yet, the file speaks for itself."""

    def __init__(self, home: Home, opening: Opening) -> None:
        self._home = home
        self._opening = opening
        self._away_since: float | None = None

    async def open(self) -> Database:
        """As Opening.open; raises StoreError."""
        try:
            return await self._opening.open()
        except StoreError as error:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since >= PATIENCE_S and write_first_snapshot(self._home):
                structlog.get_logger("canary.courier").warning(
                    "no plan and no database: the configuration file speaks for itself until one comes", reason=str(error)
                )
            raise


async def carry(home: Home, control_fd: int | None) -> None:
    """Until the supervisor's word or end; then to the journal's end."""
    local, token = home.file.local, home.token(os.environ)
    refuse_open_admin(local.sidecar_listen, token=token, what="the sidecar's port")
    stop = asyncio.Event()
    leash = Leash(stop)
    leash.hold(control_fd)
    opening = Opening(home, env=os.environ)
    try:
        leash.ready()
        await run_courier(
            Place(
                state_dir=home.state_dir,
                sidecar=home.sidecar(),
                listen=local.sidecar_listen,
                token=token,
                blind_after_s=local.blind_after_s,
            ),
            open_database=_FirstWord(home, opening).open,
            stop=stop,
        )
    finally:
        await opening.leave()
        leash.let_go()


def main(arguments: list[str] | None = None) -> int:
    """`python -m canary.app.courier`: started by the supervisor."""
    return run_process("courier", carry, arguments)


if __name__ == "__main__":
    sys.exit(main())
