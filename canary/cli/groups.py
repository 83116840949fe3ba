"""Groups of commands: a mistyped name is guessed at, each command's line of help is shown whole."""

import difflib
from collections.abc import Iterator

import click


class ReaderGone(Exception):
    """Whoever read our output has closed it; click would end with an error of its own."""


class Guessing(click.Group):
    """A group that knows what may have been meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a guess where there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = self._near(ctx, args[0])
            if near:
                raise click.UsageError(f"{error.message.rstrip('.')}: did you mean `{near}`?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, never cut."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines_of_help(ctx)))

    def lines_of_help(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        """Name and help of each command."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                yield name, command.get_short_help_str(limit=1_000)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; raises ReaderGone where nobody reads what it says."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None

    def _near(self, ctx: click.Context, name: str) -> str:
        """The likeliest name here; else the same name in a group of ours."""
        close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        if close:
            return close[0]
        for known in self.list_commands(ctx):
            group = self.get_command(ctx, known)
            if isinstance(group, click.Group) and name in group.list_commands(ctx):
                return f"{ctx.command_path} {known} {name}"
        return ""
