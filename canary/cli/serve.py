"""`canary serve`, `canary proxy`, `canary controller`: the roles of one program."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from canary.cli.given import config_option, home_of, state_option

if TYPE_CHECKING:
    from canary.app.serve import Serving

_workers = click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes that share the data port.")


@click.command()
@config_option
@state_option
@_workers
def serve(config_file: Path, state_dir: Path | None, *, workers: int | None) -> int:
    """Run everything: data plane, courier, controller with API and console, and an embedded Postgres.

    SIGTERM and the first Ctrl-C stop in order, a second Ctrl-C stops now; SIGHUP reads the file again.
    """
    return _run(config_file, state_dir, workers=workers, with_controller=True)


@click.command()
@config_option
@state_option
@_workers
def proxy(config_file: Path, state_dir: Path | None, *, workers: int | None) -> int:
    """Run the data plane and its courier only: the sidecar beside an application."""
    return _run(config_file, state_dir, workers=workers, with_controller=False)


@click.command()
@config_option
@state_option
def controller(config_file: Path, state_dir: Path | None) -> int:
    """Run the decision loop with API and console only. Any number may run; one leads."""
    import asyncio

    from canary.app.controller import Controller
    from canary.app.home import make_state_dir
    from canary.telemetry.logs import setup_logs

    home = home_of(config_file, state_dir)
    setup_logs("controller")
    make_state_dir(home)
    process = Controller(home, env=os.environ)
    click.echo(f"canary controller: console http://{home.file.local.admin_listen}/")
    asyncio.run(process.run())
    return 0


def _run(config_file: Path, state_dir: Path | None, *, workers: int | None, with_controller: bool) -> int:
    from canary.app.serve import serve as serve_all

    home = home_of(config_file, state_dir)
    return serve_all(home, env=dict(os.environ), with_controller=with_controller, workers=workers, announce=_announce)


def _announce(serving: "Serving") -> None:
    click.echo(serving.text)
