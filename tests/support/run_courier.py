"""The real courier on a real database, inside a test or as a process that a test kills."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from canary.courier.run import Place, run_courier
from canary.store.database import Database


async def run_over(state_dir: Path, url: str, stop: asyncio.Event, *, listen: str = "127.0.0.1:0") -> None:
    """Until `stop`, then to the journals' ends."""

    async def opened() -> Database:
        return await Database.open(url, size=2)

    await run_courier(Place(state_dir=state_dir, sidecar="s1", listen=listen), open_database=opened, stop=stop)


async def _run_until_told(state_dir: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_over(state_dir, os.environ["CANARY_DATABASE_URL"], stop)


if __name__ == "__main__":
    asyncio.run(_run_until_told(Path(sys.argv[1])))
