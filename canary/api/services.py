"""What the admin port works on: books to read, orders to give, a file to read again."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from canary.errors import StoreAway
from canary.ports import PlanBook, RolloutBook
from canary.rollout.state import RolloutState
from canary.stats.evidence import Evidence
from canary.terms import Action, Frozen


class NewRollout(Frozen, frozen=True, kw_only=True):
    """What a person says to begin a rollout; an empty plan means the only one that the configuration has."""

    route: str
    candidate: str
    plan: str = ""
    reason: str = ""
    retry_of: str = ""


class Reloaded(Frozen, frozen=True, kw_only=True):
    """What reading the configuration file again did, or would do."""

    revision: int  # in force now
    changed: bool
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # settings that wait for a restart; what is in charge although the file says otherwise


class Orders(Protocol):
    """The one door to the state."""

    async def create(self, new: NewRollout, *, actor: str) -> RolloutState:
        """Begins a rollout; raises Conflict, NotFound or Refused."""
        ...

    async def give(
        self, rollout: str, action: Action, *, actor: str, reason: str, expected_revision: int | None
    ) -> RolloutState:
        """Moves a rollout; raises NotFound, StaleRevision, IllegalTransition or Refused."""
        ...


class PairQuery(Frozen, frozen=True, kw_only=True):
    """Which pairs are wanted; newest first."""

    rollout: str = ""
    route: str = ""
    only: str = ""  # worse | better | failed | differs ; empty: all
    before: str = ""  # pairs older than that id
    limit: int = 50


class PairShelf(Protocol):
    """Stored pairs, as plain JSON-able values."""

    async def list(self, query: PairQuery) -> Sequence[dict[str, Any]]:
        """Without bodies, newest first."""
        ...

    async def show(self, pair: str) -> dict[str, Any]:
        """One pair with both answers; raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that needs Postgres."""

    rollouts: RolloutBook
    plans: PlanBook
    pairs: PairShelf
    orders: Orders
    evidence: Callable[[RolloutState], Awaitable[Evidence | None]]  # as of now; None before the scoring is frozen


@dataclass(slots=True, kw_only=True)
class Services:
    """What the applications of the admin port hold; `books` is None while Postgres has not been reached yet."""

    reload: Callable[[bool], Awaitable[Reloaded]]
    books: Books | None = None
    away: str = "Postgres has not been reached yet"

    def use(self) -> Books:
        """The books; raises StoreAway."""
        if self.books is None:
            raise StoreAway(self.away, hint="serving goes on without it; try again when the database is back")
        return self.books
