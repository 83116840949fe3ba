"""An earlier look, as far as forecasts need it; light, because every reader of a decision knows it."""

from canary.terms import Frozen


class Past(Frozen, frozen=True, kw_only=True):
    """What the statistics said then."""

    age_s: float  # before the present look
    rollback: dict[str, float] = {}  # metric -> log e
    promote: dict[str, float] = {}
    as_of_us: int = 0
