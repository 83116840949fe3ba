"""Blindness: how long nobody could judge the canary here; past the bound it goes to stable by itself."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from canary.courier.backoff import wait
from canary.courier.local import LocalOrders
from canary.courier.tally import Tally
from canary.errors import SnapshotError
from canary.store.overlay import OverlayOrder
from canary.store.whole_file import write_whole
from canary.telemetry.guard import guarded

DEFAULT_S: Final = 600.0
MOST_AT_ONCE_S: Final = 60.0
"""What one look may add: a paused machine, or a sidecar that was stopped for days, is not a canary unjudged for days."""
LOOK_S: Final = 1.0
KEEP_S: Final = 2.0  # of blindness, before it is worth a write; ticks come and are committed each second
SAY_S: Final = 15.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_log = structlog.get_logger("canary.courier")


class Unjudged(msgspec.Struct):
    """Seconds so far without a commit and without a leader; on disk, so that a restart does not begin anew."""

    uncommitted_s: float = 0.0
    unled_s: float = 0.0
    at_s: float = 0.0  # monotonic, of the last look; it means something under the same boot alone
    boot: str = ""

    @property
    def longest_s(self) -> float:
        """How long the canary could not be judged, whatever was missing."""
        return max(self.uncommitted_s, self.unled_s)

    @property
    def says(self) -> str:
        """What was missing, and for how long."""
        if self.uncommitted_s >= self.unled_s:
            return f"nothing was committed for {self.uncommitted_s:.0f} s"
        return f"no leader was heard of for {self.unled_s:.0f} s"


class Blindness:
    """Counts only while there is a canary here and a worker that serves it; durations are monotonic."""

    def __init__(
        self,
        state_dir: Path,
        orders: LocalOrders,
        *,
        tally: Tally,
        after_s: float = DEFAULT_S,
        serving: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`after_s` 0: it is never too long."""
        self._path = state_dir / "blind.json"
        self._orders = orders
        self._tally = tally
        self._after_s = after_s
        self._serving = serving
        self._monotonic = monotonic
        self._most_s = min(MOST_AT_ONCE_S, after_s / 2)
        self._keep_s = min(KEEP_S, after_s / 10)
        self._boot = _boot()
        self._now = self._found()
        self._kept = True  # the file may hold more than nothing: the first look writes it
        self._kept_at_s = self._now.at_s
        self._commits, self._resumes, self._led = tally.commits, orders.resumes, False

    def led(self) -> None:
        """A leader's lease was alive when the plan was read."""
        self._led = True

    def notes(self) -> Sequence[str]:
        """For people who ask whether this sidecar is ready: what it is about to do by itself. What it did are orders."""
        if self._after_s and not self._given() and self._now.longest_s >= min(SAY_S, self._after_s / 2):
            return (f"blind: {self._now.says}; after {self._after_s:g} s the canary goes to stable by itself",)
        return ()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until `stop` is set; at once where it is switched off."""
        if not self._after_s:
            return
        while not stop.is_set():
            with guarded("look for blindness"):
                await self.look()
            await wait(stop, min(LOOK_S, self._after_s / 10))

    async def look(self) -> None:
        """Counts on, and gives the orders where it has been too long."""
        now_s, canary = self._monotonic(), self._orders.canaries()
        self._count(min(max(0.0, now_s - self._now.at_s), self._most_s) if self._serving() else 0.0, canary=bool(canary))
        self._now.at_s = now_s
        self._tally.blind_s = self._now.longest_s
        self._keep()
        if self._now.longest_s < self._after_s:
            return
        given = await self._orders.go_blind(f"nobody could judge the canary: {self._now.says}", now=datetime.now(tz=UTC))
        if given:
            self._tally.blind_orders += len(given)
            _log.warning("nobody could judge the canary: stable alone", routes=given, reason=self._now.says)

    def _count(self, passed_s: float, *, canary: bool) -> None:
        """A commit and a leader's word set their clocks back; so does a person who takes an order back: he has looked."""
        commits, resumes = self._tally.commits, self._orders.resumes
        anew = not canary or resumes != self._resumes
        self._now.uncommitted_s = 0.0 if anew or commits != self._commits else self._now.uncommitted_s + passed_s
        self._now.unled_s = 0.0 if anew or self._led else self._now.unled_s + passed_s
        self._commits, self._resumes, self._led = commits, resumes, False

    def _found(self) -> Unjudged:
        """As the last courier left it."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Unjudged)
        except (OSError, msgspec.DecodeError):
            return Unjudged(at_s=self._monotonic(), boot=self._boot)
        if found.boot != self._boot or not self._boot:
            found.at_s, found.boot = self._monotonic(), self._boot
        return found

    def _keep(self) -> None:
        """Writes what matters after a restart, and seldom: nothing while all is well."""
        longest_s, due = self._now.longest_s, self._now.at_s - self._kept_at_s >= self._keep_s
        worth = longest_s >= self._keep_s
        if not (due if worth else self._kept):
            return
        self._now.boot = self._boot
        try:
            write_whole(self._path, msgspec.json.encode(self._now))
        except OSError as error:
            _log.warning("the clock of blindness cannot be kept", reason=str(error))
        self._kept, self._kept_at_s = worth, self._now.at_s

    def _given(self) -> Sequence[tuple[str, OverlayOrder]]:
        try:
            return self._orders.given_by_itself()
        except SnapshotError:
            return ()


def _boot() -> str:
    """Which boot of this machine it is; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
