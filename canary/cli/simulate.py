"""`canary simulate`: a plan tried out on imagined candidates before a rollout begins."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from canary.cli import shown
from canary.cli.client import Admin, admin_option
from canary.cli.given import config_option, home_of
from canary.cli.shown import json_option
from canary.errors import CanaryError

if TYPE_CHECKING:
    from canary.config.document import Config
    from canary.rollout.plan import Plan
    from canary.split.spec import RouteSpec
    from canary.stats.profile import Profile

_PER: Final = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3_600.0, "hour": 3_600.0}
_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*/\s*([a-z]+)")
_RUNS: Final = 40
_BUDGET_S: Final = 20.0


def _rate(_: click.Context, __: click.Parameter, value: str) -> float:
    """`60/min`, `10/s`, `3600/h`, in requests a second."""
    found = _RATE.fullmatch(value.strip().lower())
    if found is None or found[2] not in _PER or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is no rate: write 60/min, 10/s or 3600/h")
    return float(found[1]) / _PER[found[2]]


@click.command()
@click.option("--plan", "plan_name", default="", help="Which plan. [default: the only one in the file]")
@click.option("--route", "route_name", default="", help="Whose deadlines, metrics and profile. [default: the only one]")
@click.option("--rate", "rate_per_s", required=True, callback=_rate, help="The route's traffic, such as 60/min.")
@click.option(
    "--runs", type=click.IntRange(1, 1_000), default=_RUNS, show_default=True, help="Imagined rollouts of each, at most."
)
@click.option(
    "--users", type=click.IntRange(0, 100_000), default=0, help="Of a route whose unit keeps its version: how many there are."
)
@click.option("--seed", type=int, default=1, show_default=True)
@config_option
@admin_option
@json_option
def simulate(*, plan_name: str, route_name: str, config_file: Path, admin: str | None, as_json: bool, **how: Any) -> None:
    """Try out a plan on imagined candidates: what it finds, how soon, and how many requests that costs.

    Answers come from the profile of the route's own traffic where a running canary has one, else from typical figures, which
    are stated. The counting, weighing and deciding are the real ones, on imagined time; it takes some twenty seconds.
    """
    config = home_of(config_file).file.config
    plan, route = _plan(config, plan_name), _route(config, route_name)
    _check_users(route, how["users"])
    profile, source = _profile(plan, route, admin)
    from canary.cli.simulated import as_value, print_report, report
    from canary.rollout.simulate import Question

    question = Question(
        plan=plan,
        profile=profile,
        rate_per_s=how["rate_per_s"],
        answer_timeout_s=route.deadlines.answer_s,
        connect_timeout_s=route.deadlines.connect_s,
        measures=route.measures,
        seed=how["seed"],
        users=how["users"],
    )
    found = report(question, runs=how["runs"], keep_going=_clock())
    if as_json:
        shown.print_json(as_value(question, found, route=route.name, source=source))
    else:
        print_report(question, found, route=route.name, source=source)


def _plan(config: "Config", name: str) -> "Plan":
    names = [plan.name for plan in config.plans]
    if not name and len(names) > 1:
        raise CanaryError("which plan?", hint=f"--plan one of: {', '.join(names)}")
    plan = config.plan(name or names[0])
    if plan is None:
        raise CanaryError(f"no plan `{name}`", hint=f"the file has: {', '.join(names)}")
    return plan


def _route(config: "Config", name: str) -> "RouteSpec":
    names = [route.name for route in config.routes]
    if not name and len(names) > 1:
        raise CanaryError("which route?", hint=f"--route one of: {', '.join(names)}")
    route = config.route(name or names[0])
    if route is None:
        raise CanaryError(f"no route `{name}`", hint=f"the file has: {', '.join(names)}")
    return route


def _check_users(route: "RouteSpec", users: int) -> None:
    """Where a unit keeps its version users are compared, and how many there are no profile tells."""
    from canary.terms import UnitSource

    keeps = route.unit.source is not UnitSource.REQUEST
    if keeps and not users:
        raise CanaryError(
            f"route `{route.name}` keeps its {route.unit.name or route.unit.source} on one version, and how many of these send"
            " its requests is not known",
            hint="say it with --users, such as --users 5000: as many as are seen in as long as a rollout takes",
        )
    if users and not keeps:
        raise CanaryError(f"route `{route.name}` tosses a coin for each request: it has no users", hint="leave out --users")


def _profile(plan: "Plan", route: "RouteSpec", admin: str | None) -> "tuple[Profile, str]":
    """The route's own profile where there is a large enough one, else a typical one, and a sentence on which it is."""
    import msgspec

    from canary.rollout.typical import told, typical_profile
    from canary.stats.profile import Profile

    why = "no running canary was reached"
    try:
        found = Admin(admin).get(f"/api/v1/routes/{route.name}/profile")
        profile = msgspec.convert(found["profile"], Profile)
        if profile.n >= plan.min_profile:
            return profile, f"the profile of {found['version']}: {profile.n:,} outcomes of the last {found['hours']} h"
        why = f"its own profile has {profile.n:,} of {plan.min_profile:,} outcomes"
    except CanaryError:
        if admin:
            raise
    note = "; its metrics of values have no profile and say nothing" if route.measures.metrics else ""
    return typical_profile(route.kind, first_byte=route.measures.first_byte), f"{told(route.kind)} ({why}{note})"


def _clock() -> Callable[[int, int], bool]:
    """Lets runs go on for the budget, and says how far they are where somebody watches."""
    begun, shows = time.monotonic(), sys.stderr.isatty()

    def keep_going(done: int, of: int) -> bool:
        if shows:
            click.echo(f"\r{done} of up to {of} imagined rollouts", nl=False, err=True)
        going = time.monotonic() - begun < _BUDGET_S
        if shows and (not going or done + 1 == of):
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)
        return going

    return keep_going
