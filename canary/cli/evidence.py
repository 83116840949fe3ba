"""`canary rollout status --evidence`: a look in full, with intervals, what is needed, and how long that takes."""

from typing import Any

import click

from canary.cli import shown


def print_evidence(found: dict[str, Any]) -> None:
    """A look for people: metric by metric, then classes and the forecast."""
    rollout, rows = found["rollout"], found["metrics"]
    if not rows:
        abstains = (rollout.get("evidence") or {}).get("abstains")
        click.echo(f"no evidence: the statistics abstain ({abstains})" if abstains else "no evidence yet")
        return
    told = [row["text"] for row in rows if row["text"] and not row["abstains"]]
    if told:
        click.echo(f"\ncandidate less stable, with {found['confidence']:.0%} intervals that hold at every look:")
        columns = ("metric", "candidate", "stable", "difference (interval)")
        shown.print_table(columns, [(t["name"], t["candidate"], t["stable"], t["difference"]) for t in told], empty="")
        click.echo("\nevidence e of the e that is needed, and the time until it is reached:")
        sides = ("metric", "to roll back", "in", "to pass its gate", "in")
        timed = [(t["name"], t["rollback"], t["rollback_eta"], t["promote"], t["promote_eta"]) for t in told]
        shown.print_table(sides, timed, empty="")
    for row in rows:
        if not row["text"]:
            click.echo(f"  {shown.metric_line(row)}")
        elif row["abstains"]:
            click.echo(f"  {row['metric']} says nothing: {shown.printable(row['abstains'])}")
        for one in row["verdict"]["classes"]:
            click.echo(f"  {row['metric']}, {shown.printable(one['because'])}")
    if found["forecast"]:
        click.echo(found["forecast"])
