"""What a candidate has cost so far: requests that it failed beyond what stable would have failed, and money.

The coin tells what stable would have done with the candidate's requests, whatever the weights and however stable's own rate
drifts: of each segment, w / (1 - w) times what stable had. So the excess is summed segment by segment, never pooled.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from canary.rollout.counted import Counted, Four
from canary.rollout.plan import HarmBudget
from canary.stats.contrast import Rule
from canary.stats.evidence import Evidence
from canary.stats.intervals import rate_interval
from canary.stats.scoring import Scoring
from canary.stats.value_plan import Form
from canary.stats.value_sides import Place
from canary.terms import Frozen

COST: Final = "cost"
"""The metric whose sum is money."""

ALPHA: Final = 0.05
"""Of the worst case: one minus its confidence."""

NOISE: Final = 3.0
"""Standard deviations that an excess must have before it spends a budget: less comes by chance too often at many looks."""


class Harm(Frozen, frozen=True, kw_only=True):
    """Since the rollout's start, on live traffic."""

    served: int  # requests that the coin gave to the candidate, settled or not
    failed: int  # of these, known to have failed
    expected_failed: float  # beyond what stable would have failed of the same requests; 0 where it is fewer
    worst_failed: float | None = None  # the same, were stable's own rate as low as it may be; None: not asked
    noise_failed: float = 0.0  # standard deviation of the expectation were both arms alike
    spent: float | None = None  # money, of settled requests; None: no such metric, or it says nothing
    expected_spent: float | None = None  # beyond what stable would have spent on the same requests
    noise_spent: float = 0.0  # as noise_failed
    worst_spent: float | None = None  # were stable free
    unit: str = ""  # of the money


def harm_of(counted: Sequence[Counted], scoring: Scoring, evidence: Evidence, *, in_full: bool = False) -> Harm:
    """The harm by what has settled. Each age's errors are bracketed, so each gives at least the harm: the largest counts.

    `in_full`: with the worst case, which takes a confidence sequence of every segment and decides nothing.
    """
    ages = [index for index, contrast in enumerate(scoring.contrasts) if contrast.rule is Rule.BAD and not contrast.pairs]
    excesses = [_excess([(one.weight, one.four(index)) for one in counted]) for index in ages]
    expected, noise = max(excesses, default=(0.0, 0.0))
    failed = max((sum(one.four(index).candidate_bad for one in counted) for index in ages), default=0)
    money_in_all, unit = _spent(evidence)
    beyond, noise_spent = _beyond(counted, scoring) if money_in_all is not None else (None, 0.0)
    return Harm(
        served=_served(counted, scoring, ages),
        failed=failed,
        expected_failed=max(0.0, expected),
        worst_failed=max(expected, _worst(counted, scoring, ages), 0.0) if in_full else None,
        noise_failed=noise,
        spent=money_in_all,
        expected_spent=beyond,
        noise_spent=noise_spent,
        worst_spent=money_in_all,
        unit=unit,
    )


def overspent(harm: Harm, budget: HarmBudget) -> str:
    """Which part of the budget is spent, with the numbers; empty while none is."""
    if budget.failed is not None and harm.expected_failed >= max(budget.failed, NOISE * harm.noise_failed):
        return (
            f"about {harm.expected_failed:,.0f} requests failed that stable would have answered, of a budget of"
            f" {budget.failed:,g} ({harm.failed:,} of {harm.served:,} failed)"
        )
    beyond = harm.expected_spent
    if budget.cost is not None and beyond is not None and beyond >= max(budget.cost, NOISE * harm.noise_spent):
        return (
            f"about {money(beyond, harm.unit)} spent beyond what stable would have cost, of a budget of"
            f" {money(budget.cost, harm.unit)} ({money(harm.spent or 0.0, harm.unit)} in all)"
        )
    return ""


def told(harm: Harm, budget: HarmBudget) -> str:
    """What the candidate has cost, in one sentence."""
    of_failed = f" of a budget of {budget.failed:,g}" if budget.failed is not None else ""
    at_most = f" and at most {harm.worst_failed:,.0f}" if harm.worst_failed is not None else ""
    requests = (
        f"{harm.failed:,} of {harm.served:,} requests to the candidate failed, about {harm.expected_failed:,.0f}{of_failed}"
        f" beyond what stable would have failed{at_most}"
    )
    if harm.spent is None:
        return requests
    of_cost = f" of a budget of {money(budget.cost, harm.unit)}" if budget.cost is not None else ""
    spent = f"{requests}; {money(harm.spent, harm.unit)} spent"
    if harm.expected_spent is None:
        return spent
    return f"{spent}, about {money(harm.expected_spent, harm.unit)}{of_cost} beyond stable"


def money(amount: float, unit: str) -> str:
    """An amount of money: `4.20 USD`."""
    return f"{amount:,.2f} {unit}".strip()


def _excess(found: Sequence[tuple[float, Four]]) -> tuple[float, float]:
    """Failures beyond stable's, and how far chance alone moves them where both arms are alike."""
    excess = variance = 0.0
    for weight, four in found:
        odds = weight / (1 - weight)
        excess += four.candidate_bad - odds * four.stable_bad
        variance += odds * (four.candidate_bad + four.stable_bad)  # of failures that the coin alone dealt out
    return excess, math.sqrt(variance)


def _worst(counted: Sequence[Counted], scoring: Scoring, ages: Sequence[int]) -> float:
    """All failures less those that stable would have had in any case, by the least rate that its counts still allow."""
    if not ages:
        return 0.0
    last = max(ages, key=lambda index: scoring.contrasts[index].age_us)
    worst = [0.0] * len(ages)
    for one in counted:
        own = one.four(last)
        found = rate_interval(own.stable_bad, own.stable, alpha=ALPHA / len(counted))
        least = found.lower if found is not None and found.lower is not None else 0.0
        for place, index in enumerate(ages):
            four = one.four(index)
            worst[place] += four.candidate_bad - least * four.candidate
    return max(worst)


def _served(counted: Sequence[Counted], scoring: Scoring, ages: Sequence[int]) -> int:
    """Requests that the candidate got. Where units are sticky the starts that are told are users, so settled ones count."""
    if scoring.spec.sticky:
        return max((sum(one.four(index).candidate for one in counted) for index in ages), default=0)
    return sum(one.found.assigned_candidate for one in counted)


def _spent(evidence: Evidence) -> tuple[float | None, str]:
    """Money in all and its unit; None where nothing tells it."""
    row = next((row for row in evidence.metrics if row.metric == COST), None)
    if row is None or row.abstains or row.mean_candidate is None:
        return None, ""
    return row.n_candidate * row.mean_candidate, row.unit


def _beyond(counted: Sequence[Counted], scoring: Scoring) -> tuple[float | None, float]:
    """Money beyond what stable would have spent on the same requests, cut at the metric's cap, and its noise."""
    metric = next((one for one in scoring.values.metrics if one.name == COST and one.form is Form.AMOUNT), None)
    if metric is None or metric.mean is None:
        return None, 0.0
    place, grid = Place(scoring.values, metric), metric.mean.grid
    values = np.array([*grid.points, grid.cap])
    excess = variance = 0.0
    for one in counted:
        if not one.found.values:
            continue
        bins = place.canary(np.array(one.found.values, dtype=np.int64)).sum(axis=0)
        mine, theirs = bins[: len(values)], bins[grid.width : grid.width + len(values)]
        odds = one.weight / (1 - one.weight)
        excess += float(mine @ values - odds * (theirs @ values))
        variance += odds * float((mine + theirs) @ values**2)
    return max(0.0, excess), math.sqrt(variance)
