"""The row of the diversity of answers, of requests or of users: both sides at one look."""

import math
from collections.abc import Sequence

from canary.stats.diversity import AnswerCounts, diversity_log_e
from canary.stats.evidence import MetricEvidence
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import NO_ANSWERS, ValueMetric


def diversity_row(metric: ValueMetric, answers: Sequence[AnswerCounts], spec: ScoringSpec, *, promotes: bool) -> MetricEvidence:
    """Evidence of the answers of each segment with a coin; `promotes`: there is a way out of the present stage by them."""
    candidate = sum(sum(one.candidate) + one.candidate_silent for one in answers)
    stable = sum(sum(one.stable) + one.stable_silent for one in answers)
    spoken = any(any(one.candidate) or any(one.stable) for one in answers)
    return MetricEvidence(
        metric=metric.name,
        n_candidate=candidate,
        n_stable=stable,
        bad_candidate=0,
        bad_stable=0,
        unit=metric.spec.unit,
        log_e_rollback=diversity_log_e(answers),
        need_rollback=-math.log(spec.alpha_rollback * metric.share),
        log_e_promote=diversity_log_e(answers, promote=True) if promotes else None,
        need_promote=-math.log(spec.alpha_promote) if promotes else None,
        abstains=NO_ANSWERS if candidate + stable and not spoken else "",
    )
