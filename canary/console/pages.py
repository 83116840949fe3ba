"""The console's paths: the rollouts, one rollout with its decisions, pairs, and the two files that a page needs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from canary.console.estimated import sheet_of
from canary.console.paired import line_of
from canary.console.paired import sheet_of as pair_sheet_of
from canary.console.seen import EXPLAINED, Card, card_of, tally
from canary.control.sight import Sighted
from canary.errors import NotFound, StoreAway
from canary.ports import PlanBook, RolloutBook
from canary.rollout.estimates import estimates
from canary.rollout.state import RolloutState
from canary.store.pairs import PairDetail, PairSummary

_HERE: Final = Path(__file__).parent
_FILES: Final = {"console.css": "text/css", "live.js": "text/javascript"}
_PAST: Final = 20
_PAIRS: Final = 100


class PairShelf(Protocol):
    """Stored pairs."""

    async def list(
        self, *, route: str | None, rollout: str | None, differing: bool, limit: int, before: str | None
    ) -> Sequence[PairSummary]:
        """Newest first."""
        ...

    async def show(self, exchange_id: str) -> PairDetail:
        """One pair; raises NotFound."""
        ...


class Sight(Protocol):
    """What the console looks at."""

    @property
    def rollouts(self) -> RolloutBook:
        """Rollouts and their decisions."""
        ...

    @property
    def plans(self) -> PlanBook:
        """What is published and in force."""
        ...

    @property
    def pairs(self) -> PairShelf:
        """Stored pairs."""
        ...

    @property
    def see(self) -> Callable[[RolloutState], Awaitable[Sighted]]:
        """A rollout as of now."""
        ...


class Console:
    """Handlers of the pages; `use` gives the books or raises StoreAway."""

    def __init__(self, use: Callable[[], Sight]) -> None:
        self._use = use
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["explained"] = EXPLAINED
        self._templates.filters |= {"day": _day, "tally": tally}

    async def home(self, request: web.Request) -> web.Response:
        """All rollouts: those under way in full, the last ones that ended below."""
        del request
        try:
            books = self._use()
            found = await books.rollouts.find(limit=_PAST + 20)
            plan = await books.plans.in_force()
        except StoreAway as away:
            return self._page("away.html", status=503, away=str(away), hint=away.hint)
        cards = [await self._card(books, state) for state in found]
        routes = plan.published.config.routes if plan.published else ()
        return self._page(
            "home.html",
            active=[card for card in cards if not card.state.phase.is_final],
            past=[card for card in cards if card.state.phase.is_final][:_PAST],
            routes=[(route, plan.stable.get(route.name, route.stable)) for route in routes],
        )

    async def rollout(self, request: web.Request) -> web.Response:
        """One rollout with its decisions."""
        books = self._use()
        state = await books.rollouts.get(request.match_info["id"])
        rows = await books.rollouts.decisions(state.id, limit=200)
        seen = await books.see(state)
        found = await asyncio.to_thread(estimates, state, seen.totals, seen.evidence, past=seen.past)
        card = card_of(state, seen, now=datetime.now(tz=UTC))
        return self._page("rollout.html", card=card, rows=rows, sheet=sheet_of(state, seen, found))

    async def pairs(self, request: web.Request) -> web.Response:
        """The newest pairs, of one rollout or of all."""
        rollout, differing = request.query.get("rollout", ""), request.query.get("differing") == "1"
        before = request.query.get("before") or None
        books = self._use()
        found = await books.pairs.list(route=None, rollout=rollout or None, differing=differing, limit=_PAIRS, before=before)
        plan = await books.plans.in_force()
        lines = [line_of(pair, plan.measures(pair.route)) for pair in found]
        return self._page(
            "pairs.html",
            pairs=lines,
            with_values=any(line.values for line in lines),
            rollout=rollout,
            differing=differing,
            older=found[-1].exchange_id if len(found) == _PAIRS else "",
        )

    async def pair(self, request: web.Request) -> web.Response:
        """Both answers to one request, side by side."""
        books = self._use()
        found = await books.pairs.show(request.match_info["id"][:64])
        plan = await books.plans.in_force()
        return self._page("pair.html", sheet=pair_sheet_of(found, plan.measures(found.summary.route)))

    async def file(self, request: web.Request) -> web.Response:
        """The style sheet and the module that keeps a page fresh."""
        name = request.match_info["name"]
        if name not in _FILES:
            raise NotFound(f"no file `{name[:40]}`")
        text = (_HERE / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=_FILES[name], headers={"Cache-Control": "max-age=300"})

    async def _card(self, books: Sight, state: RolloutState) -> Card:
        return card_of(state, await books.see(state), now=datetime.now(tz=UTC))

    def _page(self, name: str, *, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(name).render(**values)
        return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)


def add_pages(app: web.Application, use: Callable[[], Sight]) -> None:
    """Adds the console's paths."""
    console = Console(use)
    app.router.add_get("/", console.home)
    app.router.add_get("/rollouts/{id}", console.rollout)
    app.router.add_get("/pairs", console.pairs)
    app.router.add_get("/pairs/{id}", console.pair)
    app.router.add_get("/static/{name}", console.file)


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
