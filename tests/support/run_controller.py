"""One controller and nothing else: `python -m tests.support.run_controller HOLDER`, its database in CANARY_DATABASE_URL."""

import asyncio
import os
import signal
import sys

from canary.app.controller import WallClock
from canary.control.books import Books
from canary.control.run import run_controller
from canary.store.books import PostgresLeases, PostgresRollouts
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.plans import PostgresPlans


async def main(holder: str) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = await Database.open(os.environ["CANARY_DATABASE_URL"])
    try:
        await run_controller(
            books=Books(
                rollouts=PostgresRollouts(database),
                counters=PostgresCounters(database),
                plans=PostgresPlans(database),
                clock=WallClock(),
            ),
            leases=PostgresLeases(database),
            holder=holder,
            stop=stop,
        )
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
