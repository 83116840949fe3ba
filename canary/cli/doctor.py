"""`canary doctor`: what is installed, reachable and misconfigured."""

import os
from pathlib import Path

import click

from canary.cli.given import config_option, state_option
from canary.cli.shown import json_option, print_json


@click.command()
@config_option
@state_option
@json_option
def doctor(config_file: Path, state_dir: Path | None, *, as_json: bool) -> int:
    """Look at what is installed, reachable and misconfigured; exit code 1 where something fails."""
    from canary.app.examine import examine

    worst = 0
    findings = []
    for finding in examine(config_file, env=os.environ, state_dir=state_dir):
        worst = max(worst, int(finding.state == "fail"))
        findings.append({"what": finding.what, "state": finding.state, "found": finding.found, "hint": finding.hint})
        if not as_json:
            click.echo(f"{finding.state:<5} {finding.what:<14} {finding.found}")
            if finding.hint and finding.state != "ok":
                click.echo(f"      {'':<14} hint: {finding.hint}")
    if as_json:
        print_json({"ok": not worst, "findings": findings})
    return worst
