"""`canary init`: writes a canary.yaml to begin with."""

from pathlib import Path

import click

from canary.errors import CanaryError


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="canary.yaml")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(path: Path, *, force: bool) -> None:
    """Write a canary.yaml to begin with to PATH (default: canary.yaml here)."""
    from canary.config.template import TEMPLATE

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise CanaryError(f"{path} is there already", hint="`--force` replaces it; `canary check` looks at it") from None
    except OSError as error:
        raise CanaryError(f"cannot write {path}: {error.strerror or error}") from None
    click.echo(f"wrote {path}: put your upstreams in it, then `canary check` and `canary serve`")
