"""How a process that the supervisor started begins and ends: its arguments, its logs, and one line where it cannot run."""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from canary.app.home import Home, make_state_dir, read_home
from canary.errors import CanaryError
from canary.telemetry.logs import setup_logs


def run_process(name: str, story: Callable[[Home, int | None], Awaitable[None]], arguments: list[str] | None) -> int:
    """Runs `story(home, control_fd)` to its end; the exit code is 1 where a CanaryError ended it."""
    parser = argparse.ArgumentParser(prog=f"canary-{name}")
    parser.add_argument("--control-fd", type=int)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path)
    given = parser.parse_args(arguments)
    setup_logs(name)
    try:
        home = read_home(given.config, env=os.environ, state_dir=given.state_dir)
        make_state_dir(home)
        asyncio.run(_awaited(story(home, given.control_fd)))
    except CanaryError as error:
        structlog.get_logger(f"canary.{name}").error("cannot run", reason=str(error), hint=error.hint)
        return 1
    return 0


async def _awaited(story: Awaitable[None]) -> None:
    await story
