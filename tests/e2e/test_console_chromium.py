"""The console in a real browser: its module runs under the content security policy, stored markup does not."""

import asyncio
import contextlib
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from canary.terms import Phase
from tests.support.admin_world import PAIR, AdminWorld
from tests.support.deadline import wait_until
from tests.support.rollouts import a_state
from tests.support.store_rows import a_decision

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--virtual-time-budget=6000", "--dump-dom"),
)


@pytest.mark.skipif(CHROMIUM is None, reason="skipped: no Chromium here")
async def test_the_page_lives_and_nothing_stored_runs(tmp_path: Path) -> None:
    world = AdminWorld()
    await world.publish()
    await world.books.rollouts.create(a_state(Phase.CANARYING, revision=1, because=EVIL, waiting=EVIL), a_decision())
    async with world.client() as client:
        page = await asyncio.to_thread(_dom, str(client.make_url("/")), tmp_path)
    assert "<title>Rollouts" in page
    assert "broken in" not in page.split("<body>")[0]
    assert "&lt;img src=x" in page
    assert 'id="pause" type="button" aria-pressed="false"' in page
    assert 'hidden=""' not in page, "the module ran"


@pytest.mark.skipif(CHROMIUM is None, reason="skipped: no Chromium here")
async def test_no_page_is_wider_than_a_narrow_screen(tmp_path: Path) -> None:
    """Tables scroll within themselves, long words break."""
    world = AdminWorld()
    await world.publish()
    state = a_state(Phase.CANARYING, revision=1, because="x" * 200, waiting="/" + "y" * 90)
    await world.books.rollouts.create(state, a_decision())
    async with world.client() as client, _browser(tmp_path) as tell:
        await tell("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=False)
        for path in ("/", f"/rollouts/{state.id}", f"/pairs?rollout={state.id}", f"/pairs/{PAIR}"):
            url = str(client.make_url(path))
            await tell("Page.navigate", url=url)
            there = f"document.readyState === 'complete' && location.href === '{url}'"
            ask = f"const e = document.documentElement; ({there}) ? String(e.scrollWidth - e.clientWidth) : ''"
            async with asyncio.timeout(30):
                while not (over := (await tell("Runtime.evaluate", expression=f"{{ {ask} }}"))["result"]["value"]):
                    pass
            assert over == "0", path


@contextlib.asynccontextmanager
async def _browser(profile: Path) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A headless Chromium of its own; what is yielded sends a command of the DevTools protocol and returns its result."""
    assert CHROMIUM is not None
    flags = [flag for flag in FLAGS if not flag.startswith(("--dump-dom", "--virtual-time"))]
    command = [CHROMIUM, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        await wait_until(lambda: port_file.exists() and port_file.read_text().count("\n"), 60, what="the browser")
        base = f"http://127.0.0.1:{port_file.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/json") as answer:
                page = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
                numbers = itertools.count(1)

                async def tell(method: str, **params: object) -> Any:
                    number = next(numbers)
                    await socket.send_json({"id": number, "method": method, "params": params})
                    while (said := await socket.receive_json(timeout=30)).get("id") != number:
                        pass
                    return said["result"]

                yield tell
    finally:
        process.terminate()
        await process.wait()


def _dom(url: str, profile: Path) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=100)
    return done.stdout
