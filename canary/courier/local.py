"""Orders given at the sidecar itself: they work without Postgres, are reported to it, and end when a decision names them."""

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from canary.errors import Conflict, NotFound, SnapshotError
from canary.ports import PlanInForce, RolloutBook
from canary.rollout.apply import apply, stable_after
from canary.rollout.state import Decision, DecisionRow, Reason, RolloutState
from canary.rollout.traffic import moves_traffic
from canary.split.spec import RouteSpec
from canary.store.overlay import Overlay, OverlayOrder, read_overlay, write_overlay
from canary.store.snapshot import Snapshot, read_snapshot
from canary.terms import Action

BY_ITSELF: Final = "sidecar"
"""The actor of orders that nobody gave."""

_log = structlog.get_logger("canary.courier")


class LocalOrders:
    """The overlay file of this sidecar; one writer at a time."""

    def __init__(self, state_dir: Path, sidecar: str) -> None:
        self._overlay = state_dir / "overlay.json"
        self._snapshot = state_dir / "snapshot.json"
        self._sidecar = sidecar
        self._writing = asyncio.Lock()
        self.resumes = 0  # orders that people took back

    async def roll_back(self, route: str, *, reason: str, actor: str, now: datetime) -> OverlayOrder:
        """Sends the route to stable at once; raises NotFound for a route that this sidecar does not serve."""
        snapshot = self._present()
        spec = next((r for r in snapshot.routes if r.name == route), None)
        if spec is None:
            raise NotFound(f"no route '{route}' here; routes: {', '.join(r.name for r in snapshot.routes) or 'none'}")
        order = OverlayOrder(
            reason=reason,
            actor=actor,
            at=now,
            revision=snapshot.revision,
            rollout=spec.split.rollout if spec.split else "",
        )
        async with self._writing:
            write_overlay(self._overlay, Overlay(routes={**self._read().routes, route: order}))
        return order

    def canaries(self) -> Sequence[RouteSpec]:
        """The routes whose traffic a rollout divides here, by order or not; none where there is no snapshot."""
        try:
            routes = self._present().routes
        except SnapshotError:
            return ()
        return [spec for spec in routes if spec.split is not None and spec.split.candidate != spec.stable]

    def notes(self) -> Sequence[str]:
        """For people who ask whether this sidecar is ready: the orders in force, or why they cannot be read."""
        try:
            return read_overlay(self._overlay).in_words
        except SnapshotError as error:
            return (f"all routes go to stable: the local orders cannot be read: {error}",)

    def given_by_itself(self) -> Sequence[tuple[str, OverlayOrder]]:
        """The orders in force that nobody gave. Raises SnapshotError."""
        return [(route, order) for route, order in sorted(self._read().routes.items()) if order.actor == BY_ITSELF]

    async def go_blind(self, reason: str, *, now: datetime) -> Sequence[str]:
        """Sends every canary to stable whose route has no order yet, whoever gave it; returns their routes."""
        async with self._writing:
            revision, overlay = self._present().revision, self._read()
            given = {
                spec.name: OverlayOrder(
                    reason=reason, actor=BY_ITSELF, at=now, revision=revision, rollout=spec.split.rollout if spec.split else ""
                )
                for spec in self.canaries()
                if spec.name not in overlay.routes
            }
            if given:
                write_overlay(self._overlay, Overlay(routes={**overlay.routes, **given}))
        return sorted(given)

    async def resume(self, route: str) -> None:
        """Takes the order back; raises NotFound where there is none."""
        async with self._writing:
            overlay = self._read()
            if route not in overlay.routes:
                raise NotFound(f"no local order for route '{route}'")
            self._keep(overlay, {route})
            self.resumes += 1

    async def settle(self, plan: PlanInForce) -> None:
        """Drops the orders whose rollout is over in a plan that this sidecar's snapshot already shows."""
        overlay = self._read()
        active = {state.id for state in plan.rollouts}
        done = {route for route, order in overlay.routes.items() if order.rollout and order.rollout not in active}
        if done and self._present().revision >= plan.plan_revision:
            async with self._writing:
                self._keep(self._read(), done)
            _log.info("local orders are decided now", routes=sorted(done))

    async def report(self, plan: PlanInForce, rollouts: RolloutBook, *, now: datetime) -> None:
        """Writes the decision for each order whose rollout still runs; raises StoreAway. A move in between is met next time."""
        states = {state.id: state for state in plan.rollouts}
        for order in self._read().routes.values():
            state = states.get(order.rollout)
            if state is None:
                continue
            try:
                await self._decide(state, order, rollouts=rollouts, now=now)
            except Conflict as error:
                _log.info("a local order is reported later", rollout=state.id, reason=str(error))

    async def _decide(self, state: RolloutState, order: OverlayOrder, *, rollouts: RolloutBook, now: datetime) -> None:
        by_itself = order.actor == BY_ITSELF
        where = f"at sidecar {self._sidecar}"
        how = f"went to stable by itself {where}" if by_itself else f"rolled back {where} by {order.actor}"
        because = f"{how} at {order.at:%Y-%m-%d %H:%M:%S} UTC: {order.reason}"
        reason = Reason.BLIND if by_itself else Reason.ORDERED
        decision = Decision(action=Action.ROLL_BACK, because=because, reason=reason)
        after = apply(state, decision, now)
        row = DecisionRow(
            id=_decision_id(now),
            rollout=state.id,
            revision=after.revision,
            decision=decision,
            phase=after.phase,
            actor=order.actor,
            at=now,
            epoch=0,
            plan_hash=state.plan_hash,
        )
        stable = stable_after(state, after)
        await rollouts.save(state, after, row, stable=stable, moves_traffic=moves_traffic(decision.action))
        _log.warning("local rollback reported", rollout=state.id, reason=order.reason)

    def _present(self) -> Snapshot:
        return read_snapshot(self._snapshot)

    def _read(self) -> Overlay:
        try:
            return read_overlay(self._overlay)
        except SnapshotError as error:
            _log.error("the overlay file cannot be read", reason=str(error))
            raise

    def _keep(self, overlay: Overlay, gone: set[str]) -> None:
        rest = {route: order for route, order in overlay.routes.items() if route not in gone}
        write_overlay(self._overlay, msgspec.structs.replace(overlay, routes=rest))


def _decision_id(now: datetime) -> str:
    """A UUID of version 7: ordered by its milliseconds, otherwise random."""
    value = int(now.timestamp() * 1000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
