"""The `canary` command: its list of commands, and how errors reach people."""

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from canary import __version__
from canary.cli.groups import Guessing, ReaderGone
from canary.errors import CanaryError
from canary.proxy.build import build

_COMMANDS: Final[dict[str, tuple[str, str]]] = {  # name -> module:attribute, one line of help
    "demo": (
        "canary.cli.demo:demo",
        "Show the whole story on this machine: models, traffic, three candidates, three verdicts.",
    ),
    "init": ("canary.cli.init:init", "Write a canary.yaml to begin with."),
    "check": ("canary.cli.check:check", "Check canary.yaml: all mistakes at once, each with its place."),
    "serve": ("canary.cli.serve:serve", "Run everything: data plane, courier, controller, console, embedded Postgres."),
    "proxy": ("canary.cli.serve:proxy", "Run the data plane and its courier only (the sidecar in a pod)."),
    "controller": ("canary.cli.serve:controller", "Run the decision loop, the API and the console only."),
    "rollout": ("canary.cli.rollout:rollout", "Create, watch and steer rollouts."),
    "simulate": ("canary.cli.simulate:simulate", "Try out a plan before it begins: what it finds, how soon, at what harm."),
    "replay": ("canary.cli.replay:replay", "Make a stored decision again from what it read, and compare."),
    "calibration": ("canary.cli.calibration:calibration", "Show the live rate of false alarms: stable against itself."),
    "pairs": ("canary.cli.pairs:pairs", "Look at stored pairs of answers."),
    "db": ("canary.cli.db:db", "Start, upgrade and open the database."),
    "config": ("canary.cli.config:config", "Schema, validation and difference of the configuration."),
    "force": ("canary.cli.force:force", "Mint the signed header that puts a test's request on one arm."),
    "doctor": ("canary.cli.doctor:doctor", "Look at what is installed, reachable and misconfigured."),
}


class _Lazy(Guessing):
    """Knows its commands by name and reads a command's file when it is called: `canary --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the story."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's file."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def lines_of_help(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        """Without importing anything."""
        del ctx
        return ((name, text) for name, (_, text) in _COMMANDS.items())


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="canary", message=f"%(prog)s %(version)s ({build()})")
def canary() -> None:
    """Shadow and canary traffic, and decisions that stay right however often one looks."""


def main(arguments: list[str] | None = None) -> None:
    """The entry point: exit codes 0 ok, 1 error, 2 usage, 3 rolled back, 4 undecided."""
    try:
        code: Any = canary.main(args=arguments, prog_name="canary", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (ReaderGone, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `canary ... | head` is no error
        sys.exit(0)
    except CanaryError as error:
        show_error(error)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def show_error(error: CanaryError) -> None:
    """The message (one line a mistake), then what to do."""
    click.echo(f"error: {error}" if "\n" not in str(error) else str(error), err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
