"""The options by which commands find their configuration file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from canary.app.home import Home, read_home


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config`: which canary.yaml."""
    return click.option(
        "--config",
        "-c",
        "config_file",
        type=click.Path(path_type=Path),
        default="canary.yaml",
        envvar="CANARY_CONFIG",
        show_default=True,
        help="The configuration file.",
    )(command)


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--state-dir`: where snapshot, journal and the embedded database are kept."""
    return click.option("--state-dir", type=click.Path(path_type=Path), default=None, help="Overrides state_dir of the file.")(
        command
    )


def home_of(config_file: Path, state_dir: Path | None = None) -> Home:
    """The checked file; raises ConfigError with all mistakes."""
    return read_home(config_file, env=os.environ, state_dir=state_dir)
