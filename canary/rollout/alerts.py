"""What people should know of and what decides nothing: shifts, silence, counters that stand."""

from collections.abc import Iterable, Sequence
from typing import Final

from canary.rollout import words
from canary.rollout.counted import Counted
from canary.rollout.past import Past
from canary.stats.contrast import Rule
from canary.stats.evidence import Alert, Evidence
from canary.stats.intervals import bernoulli_log_e
from canary.stats.ratio import BROKEN_LOG_E, sample_ratio_log_e
from canary.stats.scoring import Scoring
from canary.terms import Measures

SHIFT: Final = 0.10
"""Total variation: a tenth of the requests moved to another class."""

DRIFT: Final = 2.0
"""Times the profile's rate, either way. A healthy day's wave of half as much again is none of anybody's business."""

LEAST: Final = 500
"""Requests of stable before its traffic is held against its profile."""

STANDS_S: Final = 60.0
"""A journal's tick comes each second."""

_PRIOR: Final = (0.5, 0.5)


def missing_alerts(evidence: Evidence, measures: Measures) -> Iterable[Alert]:
    """Declared metrics that say nothing: nothing is promoted on them, and their guard is off."""
    declared = {spec.name for spec in measures.metrics}
    for row in evidence.metrics:
        if row.metric in declared and row.abstains:
            because = f"{words.name_of(row.metric)} says nothing ({row.abstains}): it guards nothing and lets nothing pass"
            yield Alert(name=f"missing_telemetry:{row.metric}", because=because)


def arms_alerts(counted: Sequence[Counted], scoring: Scoring) -> Iterable[Alert]:
    """Classes that do not meet the arms in the coin's shares: a class is fixed before the coin, so the shares must be equal."""
    names = class_names(scoring)
    if scoring.spec.sticky or len(names) < 2:
        return
    index = _of_rule(scoring, Rule.BAD)[0]
    for stratum, name in enumerate(names):
        fours = [(one.weight, one.strata[stratum][index]) for one in counted if stratum < len(one.strata)]
        log_e = max((sample_ratio_log_e(weight, four.candidate, four.stable) for weight, four in fours), default=0.0)
        if log_e >= BROKEN_LOG_E:
            candidate, stable = sum(four.candidate for _, four in fours), sum(four.stable for _, four in fours)
            because = (
                f"class {name}: {candidate:,} requests of the candidate beside {stable:,} of stable are not the coin's shares"
                f" ({words.e_value(log_e)}): something moves requests of one class"
            )
            yield Alert(name="class_mix:arms", because=because)


def mix_alerts(counted: Sequence[Counted], scoring: Scoring, *, stage: int | None, shares: Sequence[float]) -> Iterable[Alert]:
    """Stable's classes now beside those of the profile that the bets were tuned by. `shares` is empty where none was kept."""
    names = class_names(scoring)
    if len(names) < 2 or len(shares) != len(names):
        return
    index = _of_rule(scoring, Rule.BAD)[0]
    own = [one for one in counted if one.segment.stage == stage and len(one.strata) == len(names)]
    found = [sum(one.strata[stratum][index].stable for one in own) for stratum in range(len(names))]
    n = sum(found)
    if n < LEAST:
        return
    moved = sum(abs(count / n - share) for count, share in zip(found, shares, strict=True)) / 2
    if moved >= SHIFT:
        most = max(range(len(names)), key=lambda stratum: abs(found[stratum] / n - shares[stratum]))
        because = (
            f"{moved:.0%} of the requests are of another class than in the profile: class {names[most]} has"
            f" {found[most] / n:.0%} now and had {shares[most]:.0%}; decisions stay right, and take longer"
        )
        yield Alert(name="class_mix:profile", because=because)


def drift_alerts(counted: Sequence[Counted], scoring: Scoring, *, stage: int | None) -> Iterable[Alert]:
    """Rates of stable that are no longer what the frozen profile says."""
    own = [one for one in counted if one.segment.stage == stage]
    for index, contrast in enumerate(scoring.contrasts):
        if contrast.promote or contrast.pairs or contrast.rule not in {Rule.BAD, Rule.SLOW} or not 0 < contrast.center < 1:
            continue
        fours = [one.four(index) for one in own]
        bad, n = sum(four.stable_bad for four in fours), sum(four.stable for four in fours)
        if n < LEAST or not _moved(bad, n, contrast.center):
            continue
        what = words.counted(contrast.name.split(".", 1)[0])
        because = (
            f"stable has changed since its profile: {what} {words.share(bad, n)} ({bad:,}/{n:,}) where the profile had"
            f" {words.share(round(contrast.center * 1e6), 1_000_000)}; decisions stay right, and take longer"
        )
        yield Alert(name=f"profile:{contrast.name.split('.', 1)[0]}", because=because)


def stale_alerts(evidence: Evidence, past: Past | None, *, fresh_s: float) -> Iterable[Alert]:
    """A journal whose counters stand while others go on."""
    age_s = evidence.newest_tick_age_s
    stood_s = 0.0 if past is None else past.age_s if past.stood_s is None else past.stood_s
    if past is None or stood_s < STANDS_S or age_s is None or age_s >= fresh_s or not evidence.as_of_us:
        return
    if evidence.as_of_us == past.as_of_us:
        because = f"a journal has said nothing for {words.span(stood_s)} while others go on: its requests are not counted"
        yield Alert(name="stale_counters", because=because)


def class_names(scoring: Scoring) -> tuple[str, ...]:
    """Names of the strata, by number."""
    return ("other", *scoring.spec.measures.classes)


def _of_rule(scoring: Scoring, rule: Rule) -> list[int]:
    return [index for index, contrast in enumerate(scoring.contrasts) if contrast.rule is rule and not contrast.pairs]


def _moved(bad: int, n: int, rate: float) -> bool:
    now = (bad + 0.5) / (n + 1)
    far = now >= DRIFT * rate or now <= rate / DRIFT
    return far and bernoulli_log_e(bad, n - bad, rate, prior=_PRIOR) >= BROKEN_LOG_E
