"""The courier's process: carries outcomes up and plans down; lives on while Postgres is away."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from canary.app.first import write_first_snapshot
from canary.app.home import Home, make_state_dir, read_home
from canary.app.leash import Leash
from canary.app.listeners import refuse_open_admin
from canary.app.opening import Opening
from canary.courier.run import run_courier
from canary.errors import CanaryError, StoreError
from canary.store.database import Database
from canary.telemetry.logs import setup_logs

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


async def carry(home: Home, *, control_fd: int | None) -> None:
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
            state_dir=home.state_dir,
            sidecar=home.sidecar(),
            open_database=_FirstWord(home, opening).open,
            listen=local.sidecar_listen,
            token=token,
            stop=stop,
        )
    finally:
        await opening.leave()
        leash.let_go()


def main(arguments: list[str] | None = None) -> int:
    """`python -m canary.app.courier`: started by the supervisor."""
    parser = argparse.ArgumentParser(prog="canary-courier")
    parser.add_argument("--control-fd", type=int)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path)
    given = parser.parse_args(arguments)
    setup_logs("courier")
    try:
        home = read_home(given.config, env=os.environ, state_dir=given.state_dir)
        make_state_dir(home)
        asyncio.run(carry(home, control_fd=given.control_fd))
    except CanaryError as error:
        structlog.get_logger("canary.courier").error("cannot run", reason=str(error), hint=error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
