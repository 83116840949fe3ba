"""The books that decisions and orders are written in."""

from dataclasses import dataclass, field

from canary.control.history import Histories
from canary.ports import CalibrationBook, Clock, CounterBook, PlanBook, RolloutBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Postgres in production, the in-memory twin in tests; `clock` dates what people order."""

    rollouts: RolloutBook
    counters: CounterBook
    plans: PlanBook
    clock: Clock
    calibration: CalibrationBook | None = None  # None: no rounds are kept open
    histories: Histories = field(default_factory=Histories)
