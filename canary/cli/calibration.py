"""`canary calibration`: how often stable, compared with itself, raises a false alarm."""

from typing import Any

import click

from canary.cli import shown
from canary.cli.client import Admin, admin_option
from canary.cli.shown import json_option


@click.command()
@click.option("--route", default="", help="Only this route's rounds.")
@click.option("--limit", type=click.IntRange(1, 1000), default=1000, show_default=True, help="How many of the latest rounds.")
@admin_option
@json_option
def calibration(*, route: str, limit: int, admin: str | None, as_json: bool) -> None:
    """Show the live rate of false alarms.

    A part of stable's answers is compared with the rest of them, for ever, as a rollout would be: every alarm is false. The
    rate of rounds with an alarm stands beside what was promised of it.
    """
    found = Admin(admin).get("/api/v1/calibration", route=route, limit=limit)
    if as_json:
        shown.print_json(found)
        return
    click.echo(_summary(found["summary"]))
    for one in found["open"]:
        click.echo(f"open: {one['route']}, begun {shown.ago(one['opened_at'])}")
    rows = [
        (one["route"], shown.ago(one["closed_at"]), f"{one['requests']:,}", _word(one), f"{one['log_e']:+.2f}")
        for one in found["rounds"][:20]
    ]
    shown.print_table(
        ("route", "ended", "requests", "came of it", "log e"),
        rows,
        empty="a round lasts 200,000 requests, at least an hour and at most a day",
    )


def _summary(found: dict[str, Any]) -> str:
    if not found["rounds"]:
        return f"no round has ended yet; promised: false alarms in at most {found['alpha']:.1%} of them"
    return (
        f"{found['alarms']} false alarms in {found['rounds']} rounds: {found['rate']:.1%}"
        f" ({found['confidence']:.0%} interval {found['lower']:.1%} to {found['upper']:.1%}), promised: at most"
        f" {found['alpha']:.1%}{'' if found['kept'] else ' - not kept: tell the authors'}"
    )


def _word(one: dict[str, Any]) -> str:
    return f"alarm: {one['metric']}" if one["alarmed"] else f"none, nearest {one['metric'] or '-'}"
