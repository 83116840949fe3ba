"""When a dead child starts again, and who serves its queue meanwhile: decisions only, no process is touched here."""

from collections.abc import Collection, Mapping
from typing import Final

from canary.terms import Frozen

DELAYS_S: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0)
"""Pause before the n-th start in a row that follows a short life; the last one repeats."""

SHORT_LIFE_S: Final = 10.0
"""A child that lived longer than the longest pause failed by chance, not by nature: it starts at once."""

UNSERVED_DELAY_S: Final = 0.1
"""Longest pause where nobody else can serve the queue: one start a tenth of a second bounds the cost of a crash loop."""

FLAP_DEATHS: Final = 5
FLAP_WINDOW_S: Final = 60.0
LEND_AFTER_S: Final = 1.0


class History(Frozen, frozen=True, kw_only=True):
    """How often a child died, by the monotonic clock."""

    deaths: tuple[float, ...] = ()  # instants of those in the last minute, oldest first
    streak: int = 0  # short lives in a row
    total: int = 0


def after_death(history: History, *, lived_s: float, now: float) -> History:
    """The history with one more death."""
    recent = tuple(at for at in history.deaths if now - at < FLAP_WINDOW_S)
    streak = 1 if lived_s > SHORT_LIFE_S else history.streak + 1
    return History(deaths=(*recent, now)[-FLAP_DEATHS * 4 :], streak=streak, total=history.total + 1)


def delay_s(history: History, *, unserved: bool = False) -> float:
    """How long to wait before the next start; short where a queue would stand open and unserved."""
    pause = DELAYS_S[min(max(history.streak, 1), len(DELAYS_S)) - 1]
    return min(pause, UNSERVED_DELAY_S) if unserved else pause


def flapping(history: History, now: float) -> bool:
    """True where it died five times within the last minute."""
    return sum(now - at < FLAP_WINDOW_S for at in history.deaths) >= FLAP_DEATHS


class Queue(Frozen, frozen=True, kw_only=True):
    """One listening socket: since when its own worker is gone (None: it serves), and who serves it beside."""

    since: float | None = None
    restart_failed: bool = False  # its worker died again before it was ready
    lent_to: frozenset[str] = frozenset()


def loans(queues: Mapping[str, Queue], living: Collection[str], now: float) -> list[tuple[str, str]]:
    """Which queue goes to which living worker now: those whose restart failed or takes over a second, to the least burdened."""
    burden = {name: sum(name in queue.lent_to for queue in queues.values()) for name in sorted(living)}
    given: list[tuple[str, str]] = []
    for name, queue in queues.items():
        if queue.since is None or not burden or queue.lent_to & burden.keys():
            continue
        if queue.restart_failed or now - queue.since >= LEND_AFTER_S:
            taker = min(burden, key=lambda worker: (burden[worker], worker))
            burden[taker] += 1
            given.append((name, taker))
    return given
