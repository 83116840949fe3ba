"""`canary check`: all mistakes of a canary.yaml at once."""

import os
from pathlib import Path

import click

from canary.cli.shown import json_option, print_json
from canary.errors import ConfigError


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="canary.yaml", envvar="CANARY_CONFIG")
@json_option
def check(path: Path, *, as_json: bool) -> int:
    """Check PATH (default: canary.yaml): every mistake as file:line:column, with a guess at what was meant."""
    from canary.app.home import read_home

    try:
        home = read_home(path, env=os.environ)
        home.token(os.environ)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "problems": str(error).splitlines()})
        return 1
    config = home.file.config
    if as_json:
        routes = [route.name for route in config.routes]
        print_json({"ok": True, "problems": [], "warnings": home.file.warnings, "hash": config.hash, "routes": routes})
        return 0
    for warning in home.file.warnings:
        click.echo(f"warning: {warning}", err=True)
    count, plans = len(config.routes), len(config.plans)
    click.echo(f"{path} is good: {count} route{'s' * (count != 1)}, {plans} plan{'s' * (plans != 1)}")
    for route in config.routes:
        versions = ", ".join(f"{v.name} ({v.upstream})" for v in route.versions)
        click.echo(f"  {route.name}: {route.match.path_prefix} -> {route.stable} of {versions}")
    return 0
