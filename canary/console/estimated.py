"""What the rollout page shows of each metric: its difference with an interval, and how long its evidence takes."""

from collections.abc import Sequence

from canary.control.sight import Sighted
from canary.rollout.estimate_words import EstimateWords, outlook_of, words_of
from canary.rollout.estimates import Estimate
from canary.rollout.state import RolloutState
from canary.rollout.verdicts import verdicts_of
from canary.terms import Frozen


class EstimateRow(Frozen, frozen=True, kw_only=True):
    """One metric, and a sentence for each of its task classes."""

    words: EstimateWords
    classes: tuple[str, ...]


class EstimateSheet(Frozen, frozen=True, kw_only=True):
    """All metrics of a rollout; `forecast` is one sentence, or empty."""

    rows: tuple[EstimateRow, ...]
    forecast: str


def sheet_of(state: RolloutState, seen: Sighted, found: Sequence[Estimate]) -> EstimateSheet | None:
    """The sheet, or None where nothing was counted."""
    if seen.evidence is None or not found:
        return None
    over = state.phase.is_final
    said = {estimate.metric: estimate for estimate in found}
    classes = {verdict.metric: verdict.classes for verdict in verdicts_of(seen.evidence, q=state.plan.alpha_rollback)}
    rows = [
        EstimateRow(
            words=words_of(row, said[row.metric], seen.past, over=over),
            classes=tuple(one.because for one in classes[row.metric]),
        )
        for row in seen.evidence.metrics
        if row.metric in said and not row.abstains
    ]
    return EstimateSheet(rows=tuple(rows), forecast=outlook_of(state, seen.evidence, seen.past).sentence)
