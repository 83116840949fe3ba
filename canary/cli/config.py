"""`canary config`: schema, validation, and how the file differs from what is in force."""

import click

from canary.cli.check import check
from canary.cli.client import Admin, admin_option
from canary.cli.groups import Guessing
from canary.cli.shown import json_option, print_json


@click.group(cls=Guessing)
def config() -> None:
    """Schema, validation and difference of the configuration."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of canary.yaml, for editors."""
    from canary.config.schema_json import json_schema

    print_json(json_schema())


@config.command()
@admin_option
@json_option
def diff(*, admin: str | None, as_json: bool) -> None:
    """Show how the running controller's file differs from what is in force, without changing anything."""
    found = Admin(admin).post("/-/reload?dry_run=1")
    if as_json:
        print_json(found)
        return
    for line in found["differences"] or ["no difference: the file is in force as it stands"]:
        click.echo(line)
    for note in found["notes"]:
        click.echo(f"note: {note}")


@config.command()
@admin_option
@json_option
def reload(*, admin: str | None, as_json: bool) -> None:
    """Make the running controller read its file again; a bad file changes nothing and says why."""
    found = Admin(admin).post("/-/reload")
    if as_json:
        print_json(found)
        return
    click.echo(f"revision {found['revision']} is in force" + ("" if found["changed"] else ", as before"))
    for note in found["notes"]:
        click.echo(f"note: {note}")


config.add_command(check, "validate")
