"""What a child process of the demonstration needs: the fast loop, and an end when its parent ends."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any


def run(story: Coroutine[Any, Any, None]) -> None:
    """Runs on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(story)
    else:
        uvloop.run(story)


async def parent_gone() -> None:
    """Returns when this process's stdin is closed: whoever started it is gone, or says stop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4_096):
        pass


async def _keep(command: list[str]) -> None:
    """Runs a command; tells it to stop when our parent is gone, and ends with its exit code."""
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
    loop = asyncio.get_running_loop()
    ended, gone = loop.create_task(child.wait()), loop.create_task(parent_gone())
    await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    sys.exit(await ended)


if __name__ == "__main__":
    asyncio.run(_keep(sys.argv[1:]))
