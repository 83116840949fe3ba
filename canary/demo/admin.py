"""The demonstration's side of the admin API: creates rollouts and looks at them, as any program would."""

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from canary.errors import CanaryError
from canary.stats.evidence import Evidence

_PATIENCE_S: Final = 15.0
_ASK_EVERY_S: Final = 0.1


class SegmentSeen(msgspec.Struct):
    """A segment of a rollout, as far as the story needs it."""

    stage: int = -1


class StageSeen(msgspec.Struct):
    """A stage of its plan."""

    weight_bp: int = 0


class Seen(msgspec.Struct):
    """A rollout as the admin port shows it."""

    id: str
    phase: str
    revision: int = 0
    stage: int | None = None
    weight_bp: int = 0
    because: str = ""
    waiting: str = ""
    stages: list[StageSeen] = []
    segments: list[SegmentSeen] = []
    evidence: Evidence | None = None

    @property
    def is_over(self) -> bool:
        """True where nothing will change any more."""
        return self.phase in {"done", "rolled_back", "cancelled"}

    @property
    def went_live(self) -> bool:
        """True where the candidate ever had a share of live traffic."""
        return any(segment.stage >= 0 for segment in self.segments)


class Admin:
    """One admin port on loopback."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    async def wait_ready(self, within_s: float, check: Callable[[], None]) -> None:
        """Returns when the port answers and its store is reached; `check` may raise meanwhile."""
        give_up_at = asyncio.get_running_loop().time() + within_s
        last = "nobody listens"
        while asyncio.get_running_loop().time() < give_up_at:
            check()
            try:
                async with self._session.get(f"{self.url}/readyz") as answer:
                    last = await answer.text()
                    if answer.status == 200 and '"reached"' in last:
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(_ASK_EVERY_S)
        raise CanaryError(f"canary serve was not ready within {within_s:.0f} s: {last[:200]}")

    async def create(self, *, route: str, candidate: str, plan: str) -> Seen:
        """Begins a rollout; asks again for a while where the store is not ready for it yet."""
        body = {"route": route, "candidate": candidate, "plan": plan, "reason": "demonstration"}
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            async with self._session.post(f"{self.url}/api/v1/rollouts", json=body) as answer:
                raw = await answer.read()
                if answer.status == 201:
                    return msgspec.json.decode(raw, type=Seen)
                if answer.status < 500 and answer.status not in {404, 409}:
                    raise CanaryError(f"the rollout of {candidate} was refused: {raw.decode(errors='replace')[:400]}")
            if asyncio.get_running_loop().time() > give_up_at:
                raise CanaryError(f"the rollout of {candidate} could not begin: {raw.decode(errors='replace')[:400]}")
            await asyncio.sleep(_ASK_EVERY_S)

    async def look(self, rollout: str) -> Seen | None:
        """The rollout now, or None where the port does not answer in time."""
        try:
            async with self._session.get(f"{self.url}/api/v1/rollouts/{rollout}") as answer:
                return msgspec.json.decode(await answer.read(), type=Seen) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            return None


async def behave(session: aiohttp.ClientSession, port: int, *, error_rate: float) -> None:
    """Tells a model server to fail from now on."""
    async with session.post(f"http://127.0.0.1:{port}/__behave", json={"error_rate": error_rate}) as answer:
        answer.raise_for_status()
