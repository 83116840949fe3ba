"""How old the newest news is, measured on this machine's monotonic clock alone."""

from collections.abc import Iterable

from canary.stats.counts import Horizon


class Freshness:
    """When any journal's committed tick was last seen to grow; sidecars' clocks may be wrong by an hour."""

    def __init__(self) -> None:
        self._ticks: dict[str, int] = {}
        self._grew_s: float | None = None

    def heard(self, horizons: Iterable[Horizon], at_s: float) -> float | None:
        """Seconds since a tick grew, or None while none has been seen to: what was there at the first look may be old."""
        first = not self._ticks
        for horizon in horizons:
            before = self._ticks.get(horizon.journal)
            # A journal that appears is news, unless all of them do.
            grew = not first if before is None else horizon.tick_at_us > before
            self._ticks[horizon.journal] = max(horizon.tick_at_us, before or 0)
            if grew:
                self._grew_s = at_s
        return None if self._grew_s is None else at_s - self._grew_s


class Growth:
    """How fast a count grows, over the last minute or what there is of it."""

    WINDOW_S = 60.0
    LEAST_S = 3.0

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def per_s(self, count: int, at_s: float) -> float | None:
        """The rate with this reading, or None where it is too early to tell or nothing grows."""
        self._seen = [(then_s, n) for then_s, n in self._seen if at_s - then_s <= self.WINDOW_S]
        self._seen.append((at_s, count))
        first_s, first = self._seen[0]
        if at_s - first_s < self.LEAST_S or count <= first:
            return None
        return (count - first) / (at_s - first_s)
