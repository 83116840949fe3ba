"""The real controller with its admin port, its rounds of calibration made short: `... FILE STATE_DIR ADMIN REQUESTS`."""

import asyncio
import os
import sys
from pathlib import Path

from canary.app.controller import Controller
from canary.app.home import make_state_dir, read_home
from canary.rollout.calibration import Span


async def main(file: Path, state_dir: Path, listen: str, requests: int) -> None:
    """Until SIGTERM."""
    home = read_home(file, env=os.environ, state_dir=state_dir)
    make_state_dir(home)
    await Controller(home, env=os.environ, admin_listen=listen, span=Span(requests=requests, least_s=1.0)).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
