"""The data plane's desk: takes requests from client connections, gives each its route, arm, exchange and copy."""

import asyncio
import time
from binascii import hexlify
from typing import Final

from canary.proxy.assign import assign, stratum_of
from canary.proxy.exchange import Desk, Exchange
from canary.proxy.ids import ExchangeIds
from canary.proxy.record import side_of
from canary.proxy.route import Route
from canary.proxy.shadow import Copy
from canary.proxy.table import PlanKeeper
from canary.store.frames import Live, Pair, Tick
from canary.store.journal import JournalWriter
from canary.telemetry.guard import guarded
from canary.telemetry.page import Page
from canary.terms import MirrorDrop
from canary.wire.heads import RequestHead
from canary.wire.problem import problem
from canary.wire.serving import Client

_NO_DROP: Final = MirrorDrop.NONE
_MIRRORING: Final = guarded("mirror a request")
_PAIRING: Final = guarded("record a pair")
_hex: Final = hexlify
_now_ns: Final = time.monotonic_ns
_ALWAYS_MIRRORED: Final = frozenset({b"GET", b"HEAD"})


class DataPlane(Desk):
    """Implements the server's `Application` and the sinks' `PairBook`."""

    def __init__(
        self, keeper: PlanKeeper, journal: JournalWriter, *, page: Page, seed: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.keeper = keeper
        self.draining = False
        self._journal = journal
        self._page = page
        self._ids = ExchangeIds(seed)
        self._loop = loop
        self._flush_due = False
        self._spool_full = False
        self._base_us = journal.now_us() - time.monotonic_ns() // 1000  # of the journal's clock
        self._outbox: list[tuple[Client, bytes, bool]] = []

    # from the client connections

    def new_id(self) -> bytes:
        """An exchange id."""
        return self._ids.next(self._journal.now_us())

    def refused(self, status: int) -> None:
        """Counts; there is no route to write it down for."""
        self._page.refused(status)

    def begin(self, client: Client, head: RequestHead, body: bytes, *, whole: bool) -> None:
        """One request, whole or with the beginning of a larger body."""
        start_ns = _now_ns()
        start_at_us = self._base_us + start_ns // 1000
        exchange_id = self._ids.next(start_at_us)
        plan = self.keeper.plan
        route = plan.route(head) if plan is not None else None
        if plan is None or route is None:
            self._no_route(client, head, exchange_id, 503 if plan is None or plan.closes(head) else 404)
            return
        eligible = not head.upgrade and (whole or not route.rewrites_body)
        assignment = assign(route, head, exchange_id, start_at_us=start_at_us, eligible=eligible, keys=plan.keys)
        target = route.target_of(assignment.arm)
        if not whole and target.rewrites_body:
            client.refuse(413, "the request's body is too large for this version to rewrite", exchange_id)
            return
        exchange = Exchange(client, route, head, body, start_ns, self)
        exchange.assignment, exchange.target = assignment, target
        exchange.exchange_id, exchange.start_at_us = exchange_id, start_at_us
        if route.strata:
            exchange.stratum = stratum_of(route, head)
        extra = route.extra[assignment.arm]
        exchange.extra = b"x-canary-id: %b\r\n%b" % (_hex(exchange_id), extra) if route.adds_id else extra
        client.story = exchange
        drop, in_share = _NO_DROP, assignment.in_share
        if in_share:
            drop = self._not_copied(route, head, len(body), whole=whole)
        if assignment.segment:
            self._journal.open(exchange.opening(in_share and drop is _NO_DROP))
            if not self._flush_due:
                self._flush_soon()
        if not whole:
            exchange.drop = drop
            exchange.stream(body)
            return
        exchange.run(body)
        if in_share:
            self._mirror(exchange, route, body, drop)

    # the shadow

    def _not_copied(self, route: Route, head: RequestHead, size: int, *, whole: bool) -> MirrorDrop:
        """Why a request in the share is not copied, as far as the request itself says."""
        if head.upgrade:
            return MirrorDrop.UPGRADE
        if head.method not in _ALWAYS_MIRRORED and not (head.method == b"POST" and head.path in route.mirror_paths):
            return MirrorDrop.METHOD
        if not whole or size > route.copied_bytes:
            return MirrorDrop.BODY
        return _NO_DROP

    def _mirror(self, exchange: Exchange, route: Route, body: bytes, drop: MirrorDrop) -> None:
        """Sends the copy, or says in the exchange why not; whatever goes wrong here stays here."""
        if drop is _NO_DROP:
            if self.draining:
                drop = MirrorDrop.DRAINING
            elif self._spool_full:
                drop = MirrorDrop.SPOOL
            else:
                drop = route.sink.refuses(len(body))
        if drop is not _NO_DROP:
            exchange.drop = drop
            route.cells.dropped(drop)
            return
        try:  # costs nothing where nothing fails
            self._send_copy(exchange, route, body)
        except Exception:
            with _MIRRORING:
                raise

    def _send_copy(self, exchange: Exchange, route: Route, body: bytes) -> None:
        candidate, client = route.candidate, exchange.client
        if candidate is None or client is None:
            return
        if candidate.rewrites_body:
            body = candidate.body(body)
        request = candidate.request_head(exchange.head, (client.peer, len(body), True))
        if body:
            request += body
        copy = Copy(route.sink, exchange, book=self)
        copy.version = candidate.name
        copy.idle_us = route.idle_us
        copy.cap = exchange.cap = route.body_cap
        route.sink.held_bytes += len(request)
        exchange.copy = copy
        exchange.mirror = candidate.name
        route.cells.sent()
        copy.start(candidate.upstream, request)

    def pair(self, copy: Copy, frame: Live) -> None:
        """Both answers have ended: one frame. Nobody waits for it: it goes with what is written next, or with the ticker."""
        try:
            request_bytes = frame.side.request_bytes
            side = side_of(copy, copy.version, request_bytes, b"".join(copy.body))
            self._journal.pair(Pair(frame, side))
        except Exception:
            with _PAIRING:
                raise
        copy.body.clear()

    # the journal

    def write_down(self, frame: Live) -> None:
        """Takes a live frame."""
        self._journal.live(frame)
        if not self._flush_due:  # where nobody waits for it, a `hand_over` does not follow
            self._flush_soon()

    def hand_over(self, client: Client, data: bytes, keep: bool) -> None:
        """An answer's last bytes wait for the end of this turn, so that one write(2) takes all its frames down before."""
        self._outbox.append((client, data, keep))
        if not self._flush_due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flush_due = True
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """The turn's frames into the file, then the last bytes of its answers to their clients."""
        self._flush_due = False
        self._journal.flush()
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for client, data, keep in outbox:
                client.answer(data, keep)

    def tick(self) -> None:
        """Each second: the tick frame, behind everything that ended before it; the page's slow figures."""
        journal, plan, page = self._journal, self.keeper.plan, self._page
        with guarded("tick"):
            journal.tick(Tick(self._journal.now_us(), plan.revision if plan is not None else 0, journal.dropped))
            most = plan.spool_max_bytes if plan is not None else 2_147_483_648
            self._spool_full = journal.spool_bytes > most - min(most // 16, 67_108_864)
            page.gauge("spool_bytes", journal.spool_bytes)
            page.gauge("accepts_bodies", int(journal.accepts_bodies))
            page.gauge("turned_at_us", self._journal.now_us())

    def _no_route(self, client: Client, head: RequestHead, exchange_id: bytes, status: int) -> None:
        self._page.refused(status)
        detail = "no plan for it is in force" if status == 503 else "no route wants this request"
        if not client.complete:
            client.refuse(status, detail, exchange_id)
            return
        keep = client.may_persist
        client.write(problem(status, detail, exchange_id=exchange_id, keep_alive=keep, to_head=head.method == b"HEAD"))
        client.finish(keep=keep)
