"""`canary replay`: a stored decision made again from what its row kept."""

from typing import Any
from urllib.parse import quote

import click

from canary.cli import shown
from canary.cli.client import Admin, admin_option
from canary.cli.shown import json_option

DIFFERS = 1


@click.command()
@click.argument("decision")
@admin_option
@json_option
def replay(decision: str, *, admin: str | None, as_json: bool) -> int:
    """Make DECISION again from the counts that its row stored; its id stands in `canary rollout explain`.

    Exit code 0 where counts, verdicts and action are the same and every log e to 1e-9, or where a person ordered it; 1 where
    anything differs.
    """
    found = Admin(admin).get(f"/api/v1/decisions/{quote(decision, safe='')}/replay")
    if as_json:
        shown.print_json(found)
    else:
        _print(found)
    return 0 if found["same"] else DIFFERS


def _print(found: dict[str, Any]) -> None:
    stored = found["stored"]
    click.echo(f"{found['decision']}  {stored['at'][:19]}  {stored['action']}: {shown.printable(stored['because'])}")
    if not found["replayed"]:
        click.echo(f"not made again: {found['note']}")
        return
    if found["same"]:
        click.echo("made again from its stored counts: the same counts, verdicts, action and words, every log e to 1e-9")
        return
    click.echo(f"made again from its stored counts, it differs in {len(found['differences'])}:")
    for difference in found["differences"]:
        click.echo(f"  {shown.printable(difference)}")
