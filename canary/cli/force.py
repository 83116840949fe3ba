"""`canary force`: mints the signed header that puts a test's request on one arm."""

import os
import time
from pathlib import Path

import click

from canary.cli.given import config_option, home_of
from canary.cli.shown import json_option, print_json
from canary.errors import CanaryError
from canary.split.force import COOKIE, HEADER, sign
from canary.terms import Arm


@click.command()
@click.argument("route")
@click.argument("arm", type=click.Choice([arm.value for arm in Arm]))
@click.option(
    "--for", "seconds", type=click.IntRange(1, 86_400), default=3_600, show_default=True, help="Seconds for which it is good."
)
@config_option
@json_option
def force(route: str, arm: str, *, seconds: int, config_file: Path, as_json: bool) -> None:
    """Print the header that puts requests on ROUTE on ARM; needs force_key in canary.yaml and its secret here."""
    from canary.app.home import secret

    home = home_of(config_file)
    config = home.file.config
    if config.route(route) is None:
        raise CanaryError(f"no route `{route}` in {config_file}", hint=f"routes: {', '.join(r.name for r in config.routes)}")
    if config.force_key is None:
        raise CanaryError(f"{config_file} has no force_key", hint="add `force_key: {env: CANARY_FORCE_KEY}` to it")
    key = secret(config.force_key, env=os.environ, folder=home.folder, what="force_key")
    expires = int(time.time()) + seconds
    word = sign(route, Arm(arm), expires=expires, key=key.encode())
    if as_json:
        print_json({"header": HEADER.decode(), "cookie": COOKIE.decode(), "value": word, "expires": expires})
    else:
        click.echo(f"{HEADER.decode()}: {word}")
