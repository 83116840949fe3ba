"""An earlier look, as far as forecasts need it; light, because every reader of a decision knows it."""

from typing import Final

from canary.terms import Frozen

WINDOW_S: Final = 300.0
"""Growth is measured over five minutes, and over longer where there is little traffic."""


class Past(Frozen, frozen=True, kw_only=True):
    """What the statistics said then."""

    age_s: float  # before the present look
    rollback: dict[str, float] = {}  # metric -> log e
    promote: dict[str, float] = {}
    promote_pairs: dict[str, float] = {}  # of gates that pairs may open too
    window_s: float = WINDOW_S  # how old it may be, that is: over how long growth is measured
    as_of_us: int = 0  # of the newest look that was kept
    stood_s: float | None = None  # for how long it had been the same; None: for as long as this look is old
