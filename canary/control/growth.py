"""How fast a count grows, for forecasts."""


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
