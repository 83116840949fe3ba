"""The command line against an admin port over books in memory: what people read, and what programs do."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner, Result

from canary.cli.main import canary
from tests.support.admin_world import PAIR, AdminWorld
from tests.support.declaring import declaring


async def typed(client: Any, *words: str) -> Result:
    """What a person who types this sees."""
    env = {"CANARY_ADMIN": str(client.make_url("/"))}
    found = await asyncio.to_thread(CliRunner().invoke, canary, list(words), env=env, standalone_mode=False)
    assert found.exception is None, found.exception
    return found


async def test_pairs_show_declared_values_of_both_versions(client: Any, world: AdminWorld) -> None:
    assert "VALUES" not in (await typed(client, "pairs", "list")).output
    await declaring(world)
    listed = (await typed(client, "pairs", "list")).output.splitlines()
    assert listed[0].endswith("VALUES, LIVE / SHADOW")
    assert listed[1].endswith("cost 0.004 USD / 0.0055 USD, refused no / absent, score 8 <b>points</b> / unreadable")
    lines = [line.split() for line in (await typed(client, "pairs", "show", PAIR)).output.splitlines()]
    assert ["METRIC", "LIVE", "SHADOW", "KIND"] in lines
    assert ["cost", "0.004", "USD", "0.0055", "USD", "mean"] in lines
    assert ["refused", "no", "absent", "rate"] in lines
    shown = json.loads((await typed(client, "pairs", "show", PAIR, "--json")).output)
    assert [row["live"]["value"] for row in shown["values"]] == [0.004, 0.0, 8.0]
