"""How rollouts, decisions and routes look as JSON: the words of the glossary, no salts, no frozen scoring."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from canary.api.services import Reloaded
from canary.control.sight import NOTHING_SEEN, Sighted
from canary.ports import PlanInForce
from canary.rollout.calibration import CONFIDENCE, Round, real_route, summed
from canary.rollout.declared import declared, in_short
from canary.rollout.estimate_words import Outlook, outlook_of, words_of
from canary.rollout.estimates import ALPHA, Estimate
from canary.rollout.families import FleetSummary
from canary.rollout.harm import told
from canary.rollout.lean import leaning
from canary.rollout.replay import Replay
from canary.rollout.state import DecisionRow, RolloutState
from canary.rollout.troubled import alerts_of
from canary.rollout.verdicts import verdicts_of
from canary.split.spec import RouteSpec
from canary.stats.profile import Profile
from canary.store.pairs import PairDetail, PairSummary
from canary.terms import Measures

_STATE_ONLY = ("salt", "scoring", "segments", "plan", "class_shares")
_HEAVY = frozenset({"totals", "read"})


def rollout(state: RolloutState, seen: Sighted = NOTHING_SEEN) -> dict[str, Any]:
    """One rollout: where it stands, its stages, and the evidence where it was read."""
    shown: dict[str, Any] = {name: getattr(state, name) for name in state.__struct_fields__ if name not in _STATE_ONLY}
    segment = state.segment
    shown |= {
        "plan": state.plan.name,
        "stage": segment.stage if segment else None,
        "weight_bp": segment.weight_bp if segment else 0,
        "shadow_bp": segment.shadow_bp if segment else 0,
        "stages": [{"weight_bp": stage.weight_bp, "dwell_s": stage.dwell_s} for stage in state.plan.stages],
        "shadow": state.plan.shadow,
        "watch": state.plan.watch,
        "segments": state.segments,
    }
    if seen.evidence is not None:
        shown["evidence"] = seen.evidence
    shown["alerts"] = alerts_of(state, seen.evidence, unseen=seen.unseen)
    shown["leaning"] = leaning(state)
    shown["harm"] = None if seen.harm is None else _plain(seen.harm) | {"text": told(seen.harm, state.plan.harm_budget)}
    shown["harm_budget"] = state.plan.harm_budget
    plain: dict[str, Any] = _plain(shown)
    return plain


def rollouts(states: Sequence[RolloutState], fleet: FleetSummary | None = None) -> dict[str, Any]:
    """A list of rollouts, newest first, and the word on all of them together where it was asked for."""
    shown: dict[str, Any] = {"rollouts": [rollout(state) for state in states]}
    if fleet is not None:
        shown["fleet"] = _plain(fleet) | {"worse": fleet.worse}
    return shown


def evidence(state: RolloutState, seen: Sighted, found: Sequence[Estimate]) -> dict[str, Any]:
    """One look in full: every metric with its interval, what is needed of it and how long that takes; harm and alerts."""
    said = {estimate.metric: estimate for estimate in found}
    rows = seen.evidence.metrics if seen.evidence is not None else ()
    outlook = outlook_of(state, seen.evidence, seen.past) if seen.evidence is not None else Outlook()
    over = state.phase.is_final
    words = {verdict.metric: verdict for verdict in verdicts_of(seen.evidence, q=state.plan.alpha_rollback)}
    return {
        "rollout": rollout(state, seen),
        "confidence": 1 - ALPHA,
        "forecast_from_s": seen.past.age_s if seen.past is not None else None,
        "gates_eta_s": outlook.eta_s,
        "forecast": outlook.sentence,
        "metrics": [
            _plain(row)
            | {"estimate": _plain(said.get(row.metric)), "verdict": _plain(words[row.metric]), "gate": row in outlook.gates}
            | {"text": _plain(words_of(row, said[row.metric], seen.past, over=over)) if row.metric in said else None}
            for row in rows
        ],
    }


def replayed(row: DecisionRow, found: Replay) -> dict[str, Any]:
    """What came of making a decision again, beside what was stored."""
    shown: dict[str, Any] = _plain(found)
    stored = {"action": row.decision.action.value, "because": row.decision.because, "at": row.at.isoformat()}
    return shown | {"same": found.same, "rollout": row.rollout, "stored": stored}


def decision(row: DecisionRow, *, totals: bool) -> dict[str, Any]:
    """One decision row."""
    found: dict[str, Any] = decisions([row], totals=totals)["decisions"][0]
    return found


def decisions(rows: Sequence[DecisionRow], *, totals: bool) -> dict[str, Any]:
    """Decision rows, newest first; the cells that were read only where asked for."""
    shown = [{name: getattr(row, name) for name in row.__struct_fields__ if totals or name not in _HEAVY} for row in rows]
    return {"decisions": [_plain(row) for row in shown]}


def profile(route: str, version: str, found: Profile, *, hours: int) -> dict[str, Any]:
    """The histograms of a route's stable; bins are those of the statistics."""
    shown = {"route": route, "version": version, "hours": hours, "n": found.n}
    return shown | {"profile": msgspec.to_builtins(found)}


def calibration(rounds: Sequence[Round], open_rounds: Sequence[RolloutState]) -> dict[str, Any]:
    """What the ended rounds come to, the rounds themselves (newest first), and those that are open."""
    found = summed(rounds)
    return {
        "summary": _plain(found) | {"rate": found.rate, "kept": found.kept, "confidence": CONFIDENCE},
        "rounds": [_plain(one) for one in rounds],
        "open": [{"id": state.id, "route": real_route(state), "opened_at": _plain(state.created_at)} for state in open_rounds],
    }


def routes(plan: PlanInForce) -> dict[str, Any]:
    """All published routes: what the file says and what is in charge."""
    published = plan.published
    return {
        "plan_revision": plan.plan_revision,
        "published_revision": published.revision if published else 0,
        "routes": [_route(spec, plan) for spec in published.config.routes] if published else [],
        "plans": [p.name for p in published.config.plans] if published else [],
    }


def _route(spec: RouteSpec, plan: PlanInForce) -> dict[str, Any]:
    active = next((state for state in plan.rollouts if state.route == spec.name), None)
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "stable": plan.stable.get(spec.name, spec.stable),
        "stable_in_file": spec.stable,
        "versions": [{"name": v.name, "hash": v.hash, "upstream": v.upstream, "build": v.build} for v in spec.versions],
        "match": _plain({"hosts": spec.match.hosts, "path_prefix": spec.match.path_prefix, "headers": spec.match.headers}),
        "rollout": active.id if active else None,
    }


def pairs(found: Sequence[PairSummary], plan: PlanInForce) -> dict[str, Any]:
    """A list of pairs, newest first."""
    return {"pairs": [_summary(summary, plan.measures(summary.route)) for summary in found]}


def _summary(found: PairSummary, measures: Measures | None) -> dict[str, Any]:
    """A pair with its declared values side by side, each with its unit and what can be told of it."""
    shown: dict[str, Any] = _plain(found)
    for lane in ("live", "shadow"):
        del shown[lane]["facts"]
    rows = declared(measures, found.live.facts, found.shadow.facts)
    return shown | {"values": [_plain(row) for row in rows], "values_text": in_short(rows)}


def pair(detail: PairDetail, plan: PlanInForce) -> dict[str, Any]:
    """One pair with what is kept of it; a body that is no text stands in base64."""
    shown = _summary(detail.summary, plan.measures(detail.summary.route))
    shown |= {"method": detail.method, "path": detail.path, "arm": detail.arm}
    for name in ("request_headers", "response_headers"):
        shown[name] = msgspec.json.decode(getattr(detail, name) or "null")
    kept = detail.bodies
    shown["bodies"] = kept and {
        "request": _body(kept.request, kept.request_truncated),
        "live": _body(kept.live, kept.live_truncated),
        "shadow": _body(kept.shadow, kept.shadow_truncated),
    }
    return shown


def _body(body: bytes, truncated: bool) -> dict[str, Any]:
    try:
        return {"text": body.decode(), "truncated": truncated}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode(), "truncated": truncated}


def reloaded(result: Reloaded, *, dry_run: bool) -> dict[str, Any]:
    """What a reload did, or would do."""
    return {
        "dry_run": dry_run,
        "revision": result.revision,
        "changed": result.changed,
        "differences": list(result.differences),
        "notes": list(result.notes),
    }


def _plain(value: Any) -> Any:
    """JSON-able, with every field, defaults too: readers of an API should not have to know our defaults."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no infinity
    return msgspec.to_builtins(value)
