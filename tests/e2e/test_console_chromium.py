"""The console in a real browser: its module runs under the content security policy, stored markup does not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from canary.terms import Phase
from tests.support.admin_world import AdminWorld
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
    import asyncio

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


def _dom(url: str, profile: Path) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=100)
    return done.stdout
