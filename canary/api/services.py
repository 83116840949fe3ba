"""What the admin port works on: books to read and to give orders by, a file to read again."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from canary.control.books import Books as ControlBooks
from canary.control.sight import Sighted
from canary.errors import StoreAway
from canary.ports import PlanBook, RolloutBook
from canary.rollout.state import RolloutState
from canary.store.pairs import PairDetail, PairSummary
from canary.terms import Frozen


class Reloaded(Frozen, frozen=True, kw_only=True):
    """What reading the configuration file again did, or would do."""

    revision: int  # in force now
    changed: bool
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # settings that wait for a restart; what is in charge although the file says otherwise


class PairQuery(Frozen, frozen=True, kw_only=True):
    """Which pairs are wanted; newest first."""

    rollout: str | None = None
    route: str | None = None
    differing: bool = False
    before: str | None = None  # the exchange id after which the last page ended
    limit: int = 50


class PairShelf(Protocol):
    """Stored pairs."""

    async def list(
        self, *, route: str | None, rollout: str | None, differing: bool, limit: int, before: str | None
    ) -> Sequence[PairSummary]:
        """Without bodies, newest first."""
        ...

    async def show(self, exchange_id: str) -> PairDetail:
        """One pair with what is kept of both answers; raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that needs Postgres."""

    control: ControlBooks
    pairs: PairShelf
    see: Callable[[RolloutState], Awaitable[Sighted]]  # a rollout as of now

    @property
    def rollouts(self) -> RolloutBook:
        """Rollouts and their decisions."""
        return self.control.rollouts

    @property
    def plans(self) -> PlanBook:
        """What is published and in force."""
        return self.control.plans


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
