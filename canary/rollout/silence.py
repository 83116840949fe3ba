"""A candidate that says nothing: it is meant to get requests and gets none, or gets them and none of them ends.

Silence is waited for and said; it is never health.
"""

from collections.abc import Sequence
from typing import Final

from canary.rollout import words
from canary.rollout.counted import Counted
from canary.stats.contrast import Rule
from canary.stats.evidence import Evidence
from canary.stats.scoring import Scoring
from canary.terms import Measures, MetricKind

EXPECTED: Final = 10.0
"""So many requests of the candidate are expected before none of them is a silence: chance has e^-10 for it."""

LEAST_ANSWERS: Final = 20
"""Of the candidate, before a metric that is bad in all of them is called missing."""

LEAST_SETTLED: Final = 5
"""Of the candidate's requests at the last age, before "none of them ended" is said."""


def silence_of(counted: Sequence[Counted], scoring: Scoring, *, stage: int | None) -> str:
    """Why nothing is heard of the candidate in the present stage; empty where something is."""
    own = [one for one in counted if one.segment.stage == stage]
    return _no_starts(own) or _no_ends(own, scoring)


def missing_of(evidence: Evidence, measures: Measures) -> str:
    """Which declared rate is bad in every answer of both arms, as one that no answer carries is; empty where none is.

    Both arms alike would clear any margin, and so promote on telemetry that is not there.
    """
    rates = {spec.name for spec in measures.metrics if spec.kind is MetricKind.RATE}
    for row in evidence.metrics:
        whole = row.bad_candidate >= row.n_candidate and row.bad_stable >= row.n_stable
        if row.metric in rates and not row.abstains and row.n_candidate >= LEAST_ANSWERS and row.n_stable and whole:
            return (
                f"a good or a readable answer: {words.name_of(row.metric)} is bad or absent in all {row.n_candidate:,} of the"
                f" candidate's and all {row.n_stable:,} of stable's, so it tells nothing"
            )
    return ""


def _no_starts(own: Sequence[Counted]) -> str:
    if not own or any(one.found.assigned_candidate for one in own):
        return ""
    stable = sum(one.found.assigned_stable for one in own)
    expected = sum(one.found.assigned_stable * one.weight / (1 - one.weight) for one in own)
    if expected < EXPECTED:
        return ""
    meant = words.weight(own[-1].segment.weight_bp)
    return (
        f"the candidate's first request of this stage: it is meant to get {meant}, and beside {stable:,} requests of stable"
        f" none came (about {expected:,.0f} were expected)"
    )


def _no_ends(own: Sequence[Counted], scoring: Scoring) -> str:
    pair = _at_the_last_age(scoring)
    if pair is None:
        return ""
    bad, unwell = pair
    settled = sum(one.four(unwell).candidate for one in own)
    open_still = sum(one.four(unwell).candidate_bad - one.four(bad).candidate_bad for one in own)
    if settled < LEAST_SETTLED or open_still < settled:
        return ""
    age = words.span(scoring.contrasts[unwell].age_us / 1e6)
    return f"the candidate's first answer of this stage: none of its {settled:,} settled requests had ended after {age}"


def _at_the_last_age(scoring: Scoring) -> tuple[int, int] | None:
    """The contrasts that tell failed from open at the timeout's age."""
    unwell = [i for i, contrast in enumerate(scoring.contrasts) if contrast.rule is Rule.UNWELL and not contrast.pairs]
    bad = [i for i, contrast in enumerate(scoring.contrasts) if contrast.rule is Rule.BAD and not contrast.pairs]
    same = [(b, u) for u in unwell for b in bad if scoring.contrasts[b].age_us == scoring.contrasts[u].age_us]
    return same[0] if same else None
