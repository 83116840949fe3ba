"""`canary rollout`: create, look at and steer rollouts, all through the admin API."""

from collections.abc import Callable
from typing import Any

import click

from canary.cli import shown
from canary.cli.client import Admin, admin_option, path_of, rollout_id
from canary.cli.groups import Guessing
from canary.cli.shown import json_option


@click.group(cls=Guessing)
def rollout() -> None:
    """Create, watch and steer rollouts. NAME is a rollout's id or its route (then the newest one is meant)."""


@rollout.command()
@click.argument("route")
@click.option("--candidate", required=True, help="The version on trial.")
@click.option("--plan", default="", help="The plan to follow. [default: the only one in the configuration]")
@click.option("--reason", default="", help="Why; kept in the decision log.")
@click.option("--retry", is_flag=True, help="Try the same definition again although it was rolled back before.")
@admin_option
@json_option
def create(route: str, *, admin: str | None, as_json: bool, **fields: str | bool) -> None:
    """Begin a rollout of CANDIDATE on ROUTE."""
    found = Admin(admin).post("/api/v1/rollouts", {"route": route} | {k: v for k, v in fields.items() if v})
    if as_json:
        shown.print_json(found)
        return
    click.echo(f"created {found['id']}: {found['route']} {found['stable']} -> {found['candidate']}, plan {found['plan']}")
    if found.get("waiting"):
        click.echo(f"waiting: {found['waiting']}")
    click.echo(f"follow it: canary rollout watch {found['route']}")


@rollout.command("list")
@click.option("--route", default="", help="Only this route's.")
@click.option("--active", is_flag=True, help="Only those that are not over.")
@admin_option
@json_option
def list_(route: str, *, active: bool, admin: str | None, as_json: bool) -> None:
    """List rollouts, newest first."""
    found = Admin(admin).get("/api/v1/rollouts", route=route, active="1" if active else "", fleet="1")
    if as_json:
        shown.print_json(found)
        return
    rows = [
        (r["id"], r["route"], f"{r['stable']} -> {r['candidate']}", shown.stands(r), shown.ago(r["created_at"]), _why(r))
        for r in found["rollouts"]
    ]
    shown.print_table(
        ("id", "route", "versions", "stands", "created", "why"),
        rows,
        empty="no rollouts yet: begin one with `canary rollout create ROUTE --candidate VERSION`",
    )
    if len(found["fleet"]["rollouts"]) > 1:
        click.echo(_together(found["fleet"]))


@rollout.command()
@click.argument("name")
@click.option("--evidence", "in_full", is_flag=True, help="With intervals, classes and forecasts.")
@admin_option
@json_option
def status(name: str, *, in_full: bool, admin: str | None, as_json: bool) -> int:
    """Show where a rollout stands; exit code 0 promoted, 3 rolled back, 4 undecided."""
    api = Admin(admin)
    answer = api.get(path_of(rollout_id(api, name), "evidence" if in_full else ""))
    found = answer["rollout"] if in_full else answer
    if as_json:
        shown.print_json(answer)
        return shown.exit_code(found)
    print_status(found, metrics=not in_full)
    if in_full:
        from canary.cli.evidence import print_evidence

        print_evidence(answer)
    return shown.exit_code(found)


@rollout.command()
@click.argument("name")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=None, help="Give up after so many seconds (exit code 4)."
)
@click.option("--to-the-end", is_flag=True, help="Follow the guarded watch after the promotion too.")
@admin_option
@json_option
def watch(name: str, *, timeout_s: float | None, to_the_end: bool, admin: str | None, as_json: bool) -> int:
    """Follow a rollout until it is promoted, rolled back or cancelled.

    A live view on a terminal, otherwise one line a change. Exit code 0 promoted, 3 rolled back, 4 undecided.
    """
    from canary.cli.watch import Following

    api = Admin(admin)
    following = Following(api, rollout_id(api, name), timeout_s=timeout_s, to_the_end=to_the_end)
    return following.run(as_json=as_json)


@rollout.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many decisions to show.")
@admin_option
@json_option
def explain(name: str, *, limit: int, admin: str | None, as_json: bool) -> None:
    """Say why a rollout is where it is, with the numbers and the decisions behind it."""
    api = Admin(admin)
    id_ = rollout_id(api, name)
    found, rows = api.get(path_of(id_)), api.get(path_of(id_, "decisions"), limit=limit)["decisions"]
    if as_json:
        shown.print_json({"rollout": found, "decisions": rows})
        return
    print_status(found)
    click.echo("\ndecisions, newest first:")
    for row in rows:
        decision = row["decision"]
        said = shown.printable(f"by {row['actor']}: {decision['because']}")
        click.echo(f"  {row['at'][:19]}  {decision['action']:<10} {said}  [{row['id']}]")
        for verdict in decision.get("verdicts", ()):
            words = f"rollback {verdict['rollback']}, promote {verdict['promote']}: {verdict['because']}"
            click.echo(f"      {verdict['metric']:<14} {words}")


def _full(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--full", is_flag=True, default=None, help="Promote at once, past the stages that are left.")(command)


def _as_it_is(command: Callable[..., None]) -> Callable[..., None]:
    return command


def _add_order(order: str, text: str) -> None:
    @rollout.command(order, help=text)
    @click.argument("name")
    @click.option("--reason", required=True, help="Why; kept in the decision log.")
    @click.option("--expected-revision", type=int, default=None, help="Refuse if the rollout has moved on since you looked.")
    @admin_option
    @json_option
    @(_full if order == "promote" else _as_it_is)
    def give(name: str, *, admin: str | None, as_json: bool, **body: str | int | None) -> None:
        api = Admin(admin)
        found = api.post(path_of(rollout_id(api, name), order), body)
        if as_json:
            shown.print_json(found)
        else:
            click.echo(f"{found['id']} ({found['route']}): {shown.stands(found)}: {found['because']}")


_add_order("promote", "One step on (next stage, promotion, end of the watch) without waiting for the statistics.")
_add_order("hold", "Pause: the weight stays, guardrails stay on.")
_add_order("resume", "Go on after a hold.")
_add_order("rollback", "Give all traffic back to the stable version now.")
_add_order("cancel", "End a rollout without a verdict; all traffic is the stable version's.")


def print_status(found: dict[str, Any], *, metrics: bool = True) -> None:
    """A rollout for people; its metrics in one line each where these are not shown in full."""
    click.echo(f"{found['id']}  {found['route']}: {found['stable']} -> {found['candidate']}  plan {found['plan']}")
    click.echo(f"stands:   {shown.stands(found)}  (revision {found['revision']})")
    if found.get("because"):
        click.echo(f"because:  {shown.printable(found['because'])}")
    if found.get("waiting") and found.get("because") != f"waiting: {found['waiting']}":
        click.echo(f"waiting:  {shown.printable(found['waiting'])}")
    if found.get("leaning"):
        click.echo(f"lane:     {found['leaning']}")
    if found.get("harm"):
        click.echo(f"harm:     {found['harm']['text']}")
    for alert in found.get("alerts", ()):
        click.echo(f"alert:    {shown.printable(alert['because'])}")
    evidence = found.get("evidence")
    if evidence:
        click.echo(
            f"evidence: {evidence['assigned_candidate']:,} candidate and {evidence['assigned_stable']:,} stable starts, "
            f"{evidence['pairs']:,} pairs"
        )
        for metric in evidence["metrics"] if metrics else ():
            click.echo(f"  {shown.metric_line(metric)}")


def _together(fleet: dict[str, Any]) -> str:
    worse = [row for row in fleet["rollouts"] if row["worse"]]
    names = ", ".join(f"{row['route']} ({row['rollout'][:13]})" for row in worse) or "none"
    return (
        f"of {len(fleet['rollouts'])} rollouts with evidence, worse than tolerated: {names};"
        f" at most {fleet['q']:.0%} of these words are wrong (e-BH)"
    )


def _why(found: dict[str, Any]) -> str:
    text = f"waiting: {found['waiting']}" if found.get("waiting") else str(found.get("because") or "")
    return text if len(text) <= 80 else text[:79] + "…"
