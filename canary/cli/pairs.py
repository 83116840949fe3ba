"""`canary pairs`: stored pairs of answers, listed and one by one."""

from typing import Any
from urllib.parse import quote

import click

from canary.cli import shown
from canary.cli.client import Admin, admin_option, rollout_id
from canary.cli.groups import Guessing
from canary.cli.shown import json_option


@click.group(cls=Guessing)
def pairs() -> None:
    """Look at stored pairs: one request, the stable version's answer and the candidate's."""


@pairs.command("list")
@click.option("--rollout", default="", help="Only this rollout's (its id, or its route).")
@click.option("--route", default="", help="Only this route's.")
@click.option("--differing", is_flag=True, help="Only those whose answers differ.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--before", default="", help="Continue after this pair.")
@admin_option
@json_option
def list_(*, rollout: str, differing: bool, admin: str | None, as_json: bool, **filters: Any) -> None:
    """List pairs, newest first."""
    api = Admin(admin)
    chosen = rollout_id(api, rollout) if rollout else ""
    found = api.get("/api/v1/pairs", rollout=chosen, differing="1" if differing else "", **filters)
    if as_json:
        shown.print_json(found)
        return
    rows = [
        (
            p["exchange_id"],
            p["route"],
            shown.ago(p["start_at"]),
            _side(p["live"]),
            _side(p["shadow"]),
            _word(p),
            p["values_text"],
        )
        for p in found["pairs"]
    ]
    columns = ("id", "route", "when", "live", "shadow", "answers", "values, live / shadow")
    valued = any(row[-1] for row in rows)
    shown.print_table(
        columns if valued else columns[:-1],
        rows if valued else [row[:-1] for row in rows],
        empty="no pairs: they come from requests that a rollout in shadow copies to its candidate",
    )


@pairs.command()
@click.argument("id_", metavar="ID")
@admin_option
@json_option
def show(id_: str, *, admin: str | None, as_json: bool) -> None:
    """Show one pair; ID is the x-canary-id of the answer."""
    pair = Admin(admin).get(f"/api/v1/pairs/{quote(id_, safe='')}")
    if as_json:
        shown.print_json(pair)
        return
    click.echo(f"{pair['exchange_id']}  {pair['method']} {pair['path']}  route {pair['route']}  {_word(pair)}")
    for lane in ("live", "shadow"):
        click.echo(f"{lane:<7} {_side(pair[lane])}, {pair[lane]['bytes']} bytes")
    if pair["values"]:
        click.echo("")
        shown.print_table(("metric", "live", "shadow", "kind"), [_value(row) for row in pair["values"]], empty="")
    bodies = pair["bodies"]
    if not bodies:
        click.echo("bodies were not recorded (record.bodies in canary.yaml), or are kept no longer")
        return
    for part in ("request", "live", "shadow"):
        body = bodies[part]
        text = body.get("text", f"({len(body.get('base64', ''))} characters of base64)")
        click.echo(f"\n--- {part}{' (cut)' if body['truncated'] else ''}\n{shown.printable(text)}")


def _side(side: dict[str, Any]) -> str:
    latency = side["latency_us"]
    took = f"{latency / 1000:.1f} ms" if latency is not None else side["ending"]
    return f"{side['version']} {side['status'] or '-'} {took}{', failed' if side['failed'] else ''}"


def _value(row: dict[str, Any]) -> tuple[str, ...]:
    return row["name"], row["live"]["text"], row["shadow"]["text"], row["kind"] or "no longer declared"


def _word(pair: dict[str, Any]) -> str:
    if pair["lost"]:
        return "shadow lost"
    if not pair["differs"]:
        return "same" if pair["same_body"] else "same status"
    return "differ in status" if not pair["same_status"] else "differ"
