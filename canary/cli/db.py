"""`canary db`: the database started, upgraded and opened."""

import os
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import click

from canary.cli.given import config_option, home_of, state_option
from canary.cli.groups import Guessing
from canary.errors import CanaryError


@click.group(cls=Guessing)
def db() -> None:
    """Start, upgrade and open the database."""


@db.command()
@config_option
@state_option
def up(config_file: Path, state_dir: Path | None) -> None:
    """Run the embedded Postgres alone, upgraded, until Ctrl-C."""
    from canary.app.home import EMBEDDED, make_state_dir
    from canary.store.embedded import EmbeddedPostgres
    from canary.store.migrate import upgrade as apply

    home = home_of(config_file, state_dir)
    if home.database(os.environ) != EMBEDDED:
        raise CanaryError("the database is not embedded here", hint="`canary db upgrade` brings its tables up to date")
    make_state_dir(home)
    # by its default it would end us even in the wait for it, with the server left running
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with EmbeddedPostgres(home.state_dir) as postgres:
        apply(postgres.url)
        click.echo(f"Postgres runs: {postgres.url}")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@db.command()
@config_option
@state_option
def upgrade(config_file: Path, state_dir: Path | None) -> None:
    """Bring the database's tables to this version."""
    from canary.store.database import place_of
    from canary.store.migrate import current, newest
    from canary.store.migrate import upgrade as apply

    with _Reached(config_file, state_dir) as url:
        before = current(url)
        apply(url)
        now = newest()
        done = "was up to date" if before == now else f"upgraded from {before or 'an empty database'}"
        click.echo(f"{place_of(url)}: {done}, tables {now}")


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@config_option
@state_option
def psql(arguments: tuple[str, ...], config_file: Path, *, state_dir: Path | None) -> int:
    """Open psql on the database; further arguments are psql's."""
    import subprocess

    program = shutil.which("psql")
    if program is None:
        raise CanaryError("psql is not installed", hint="install the PostgreSQL client; the embedded server brings none")
    with _Reached(config_file, state_dir) as url:
        address, password = _without_password(url)  # argv is seen by every user of the machine
        env = {**os.environ, **({"PGPASSWORD": password} if password else {})}
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # psql's own business
        return subprocess.run([program, address, *arguments], env=env, check=False).returncode  # noqa: S603


def _without_password(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}{at}{host}")), unquote(password)


class _Reached:
    """The database's URL for the time of a command; the embedded server is started where it does not run."""

    def __init__(self, config_file: Path, state_dir: Path | None) -> None:
        from canary.app.home import EMBEDDED, make_state_dir
        from canary.store.embedded import EmbeddedPostgres

        home = home_of(config_file, state_dir)
        self._url = home.database(os.environ)
        self._embedded = EmbeddedPostgres(home.state_dir) if self._url == EMBEDDED else None
        if self._embedded is not None:
            make_state_dir(home)

    def __enter__(self) -> str:
        if self._embedded is not None:
            self._url = self._embedded.start()
        return self._url

    def __exit__(self, *_: object) -> None:
        if self._embedded is not None:
            self._embedded.stop()
