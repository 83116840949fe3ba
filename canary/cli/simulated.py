"""What a tried-out plan came to, for people and for programs."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
import msgspec

from canary.cli import shown
from canary.rollout import words
from canary.rollout.foresee import Power, power
from canary.rollout.lean import Lean, lean_of
from canary.rollout.plan import Plan
from canary.rollout.simulate import Lab, Question, Tally, simulated
from canary.rollout.worlds import EQUAL, Effect
from canary.terms import Better, Measures, MetricKind

_LIKELY: Final = 0.5


class Report(msgspec.Struct, frozen=True):
    """Runs and powers of every imagined candidate, the equal one first."""

    tallies: tuple[Tally, ...]
    powers: dict[str, tuple[Power, ...]]
    otherwise: dict[str, tuple[Power, ...]]  # were the other lane leaned on; empty without a shadow


def report(question: Question, *, runs: int, keep_going: Callable[[int, int], bool]) -> Report:
    """Tries out the usual regressions."""
    worse = tuple(effects(question.measures))
    if question.users:  # the growth of a bet on users depends on who has failed before
        return Report(simulated(question, (EQUAL, *worse), runs=runs, keep_going=keep_going), {}, {})
    powers = {effect.name: power(Lab(question, effect)) for effect in worse}
    other = _otherwise(question)
    otherwise = {effect.name: power(Lab(other, effect)) for effect in worse} if other is not None else {}
    return Report(simulated(question, (EQUAL, *worse), runs=runs, keep_going=keep_going), powers, otherwise)


def _lean(question: Question) -> Lean:
    return lean_of(question.plan, rate_per_s=question.rate_per_s, sticky=question.users > 0)


def _otherwise(question: Question) -> Question | None:
    """The same plan leaning on the other lane; None where there is one alone."""
    if not question.plan.has_shadow:
        return None
    plan = msgspec.structs.replace(question.plan, lean_on="canary" if _lean(question).pairs else "pairs")
    return msgspec.structs.replace(question, plan=plan)


def effects(measures: Measures) -> Iterator[Effect]:
    """Regressions of several sizes: of errors, of latency, of every declared metric."""
    for times in (1.5, 2.0, 4.0, 20.0):
        yield Effect(name=f"errors x{times:g}", errors=times)
    yield Effect(name="outage", outage=True)
    for percent in (10, 25, 100):
        yield Effect(name=f"latency +{percent} %", latency=1 + percent / 100)
    for spec in measures.metrics:
        if spec.kind is MetricKind.RATE:
            yield Effect(name=f"{spec.name} x2", metric=spec.name, times=2.0)
        elif spec.kind is MetricKind.MEAN and spec.better is Better.LOWER:
            yield Effect(name=f"{spec.name} +20 %", metric=spec.name, times=1.2)
        elif spec.kind is MetricKind.MEAN:
            yield Effect(name=f"{spec.name}: 5 % worst", metric=spec.name, worst=0.05)


def print_report(question: Question, found: Report, *, route: str, source: str) -> None:
    """Tables and sentences."""
    plan = question.plan
    per_min = question.rate_per_s * 60
    click.echo(f"plan {plan.name} on {route} at {per_min:,.4g} requests a minute, from {source}")
    if question.users:
        click.echo(
            f"{question.users:,} users, the busiest of whom send most, keep their version; all of them fail equally often"
        )
    filled = plan.min_profile / question.rate_per_s
    click.echo(f"before it begins, {plan.min_profile:,} outcomes of stable are profiled: {words.span(filled)}")
    click.echo(f"it {_lean(question).because}\n" if plan.has_shadow else "")
    equal = found.tallies[0]
    click.echo(_equal(equal, plan.alpha_rollback))
    click.echo()
    shown.print_table(
        ("candidate", "rolled back", "promoted", "undecided", "until rolled back (half, 9 of 10)", "requests harmed"),
        [_row(tally) for tally in found.tallies[1:]],
        empty="",
    )
    if not found.powers:
        return
    limit = words.span(plan.max_duration_s)
    click.echo(f"\nwere a stage to last until its limit of {limit}, half are rolled back within (no harm budget):")
    _print_powers(plan, found.powers)
    if found.otherwise:
        click.echo(f"\nthe same, did it lean on {'the canary' if _lean(question).pairs else 'pairs'}:")
        _print_powers(plan, found.otherwise)
    for line in _undetected(found, plan.max_duration_s):
        click.echo(line)


def _print_powers(plan: Plan, found: dict[str, tuple[Power, ...]]) -> None:
    places = [*(["shadow"] if plan.has_shadow else []), *(words.weight(stage.weight_bp) for stage in plan.stages)]
    rows = [(name, *[_cell(one, plan.max_duration_s) for one in powers]) for name, powers in found.items()]
    shown.print_table(("candidate", *places), rows, empty="")


def _equal(tally: Tally, alpha: float) -> str:
    n, promoted = len(tally.endings), tally.those("promoted")
    wrong = len(tally.those("rolled back"))
    if promoted:
        took = statistics.median(one.seconds for one in promoted)
        good = f"promoted in {len(promoted)} of {n}, half of them within {words.span(took)}"
    else:
        good = f"promoted in none of {n}: {_stuck(tally)}"
    return f"an equal candidate is {good}; falsely rolled back in {wrong} of {n} (promised: at most {alpha:.1%})"


def _stuck(tally: Tally) -> str:
    stages = [one.stage for one in tally.endings if one.stage is not None]
    stage = max(stages, default=-1)
    return "the plan's time is over in " + ("the shadow" if stage < 0 else f"stage {stage + 1}")


def _row(tally: Tally) -> tuple[str, ...]:
    back = tally.those("rolled back")
    n = len(tally.endings)
    times = sorted(one.seconds for one in back)
    took = "-"
    if times:
        took = f"{words.span(statistics.median(times))}, {words.span(times[min(len(times) - 1, int(0.9 * len(times)))])}"
    in_shadow = sum(one.served == 0 for one in back)
    harmed = statistics.median(one.harmed for one in tally.endings) if n else 0.0
    shares = [f"{len(tally.those(word))} of {n}" for word in ("rolled back", "promoted", "undecided")]
    if in_shadow:
        shares[0] += f" ({in_shadow} in the shadow)"
    return (tally.effect.name, *shares, took, f"{harmed:,.3g}")


def _cell(found: Power, limit_s: float) -> str:
    if found.median_s is None or found.median_s > limit_s:
        return f"never ({found.chance:.0%} do)" if found.chance >= 0.005 else "never"
    return words.span(found.median_s)


def _undetected(found: Report, limit_s: float) -> Iterator[str]:
    seldom = {tally.effect.name for tally in found.tallies if tally.share("rolled back") < _LIKELY}
    for name, powers in found.powers.items():
        if name in seldom and all(one.chance < _LIKELY for one in powers):
            best = max(powers, key=lambda one: one.chance)
            yield (
                f"{name} cannot be detected within {words.span(limit_s)}: at best {best.chance:.0%} of rollouts are rolled"
                f" back, {f'at {words.weight(best.weight_bp)}' if best.weight_bp else 'in the shadow'}"
            )


def as_value(question: Question, found: Report, *, route: str, source: str) -> dict[str, Any]:
    """The same for programs; durations in seconds."""
    return {
        "plan": question.plan.name,
        "route": route,
        "rate_per_s": question.rate_per_s,
        "source": source,
        "profile_n": question.profile.n,
        "users": question.users,
        "seed": question.seed,
        "max_duration_s": question.plan.max_duration_s,
        "leans_on_pairs": _lean(question).pairs,
        "leans_because": _lean(question).because,
        "candidates": [
            _tally(tally) | {"weights": _powers(found.powers, tally), "otherwise": _powers(found.otherwise, tally)}
            for tally in found.tallies
        ],
    }


def _tally(tally: Tally) -> dict[str, Any]:
    back, promoted = tally.those("rolled back"), tally.those("promoted")
    return {
        "name": tally.effect.name,
        "runs": len(tally.endings),
        "rolled_back": len(back),
        "rolled_back_in_shadow": sum(one.served == 0 for one in back),
        "promoted": len(promoted),
        "undecided": len(tally.those("undecided")),
        "median_rollback_s": statistics.median(one.seconds for one in back) if back else None,
        "median_promote_s": statistics.median(one.seconds for one in promoted) if promoted else None,
        "median_harmed": statistics.median(one.harmed for one in tally.endings) if tally.endings else None,
    }


def _powers(found: dict[str, tuple[Power, ...]], tally: Tally) -> list[dict[str, Any]]:
    built: list[dict[str, Any]] = [
        {"weight_bp": one.weight_bp, "metric": one.metric, "median_s": one.median_s, "chance": one.chance}
        for one in found.get(tally.effect.name, ())
    ]
    return built
