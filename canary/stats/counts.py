"""Integer counts: cells, their bytes, and what of them is settled."""

from canary.stats.cells import from_bytes, to_bytes
from canary.terms import Frozen

__all__ = ["CounterRow", "Horizon", "from_bytes", "to_bytes"]


class CounterRow(Frozen, frozen=True, kw_only=True):
    """One journal's cumulative cells of one minute and segment."""

    rollout: str
    segment: int
    journal: str
    minute: int
    cells: bytes
    revision: int


class Horizon(Frozen, frozen=True, kw_only=True):
    """How far a journal is complete."""

    journal: str
    tick_at_us: int
    dead: bool
