"""What a child process of the demonstration needs: the fast loop, and an end when its parent ends."""

import asyncio
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
