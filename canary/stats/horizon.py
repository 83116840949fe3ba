"""How far each journal is complete, and what time it is by all of them."""

from collections.abc import Iterable

from canary.terms import Frozen


class Horizon(Frozen, frozen=True, kw_only=True):
    """How far a journal is complete."""

    journal: str
    tick_at_us: int
    dead: bool
    silent: bool = False  # alive as far as anyone knows, and no tick of it was committed for long, by the database's time


def present_us(horizons: Iterable[Horizon]) -> int | None:
    """The tick in the middle of the live journals', so that one wrong clock does not move it; None where none is alive.

    Silent ones are asked only where all are: a machine that is gone for good says so to nobody, and in a fleet of two its
    last tick would be the present for ever.
    """
    live = [horizon for horizon in horizons if not horizon.dead]
    ticks = sorted(horizon.tick_at_us for horizon in live if not horizon.silent) or sorted(one.tick_at_us for one in live)
    return ticks[(len(ticks) - 1) // 2] if ticks else None
