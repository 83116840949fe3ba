"""`canary demo`: real model servers, real traffic, three candidates, three verdicts."""

import click


@click.command()
@click.option("--fast", is_flag=True, help="No pauses for reading between the candidates.")
@click.option("--once", is_flag=True, help="End after the verdicts: exit code 0 where all three are right, else 1.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines; the last one holds the verdicts.")
def demo(fast: bool, once: bool, as_json: bool) -> int:
    """Show the whole product on this machine, with nothing installed beside it.

    Starts model servers on loopback, canary with a Postgres of its own, and traffic from a recorded trace. A good candidate
    is promoted, a bad one is stopped in its shadow, one that breaks under way is rolled back. Then the console stays up.
    """
    import asyncio

    from canary.cli.shown import lively
    from canary.demo.story import tell
    from canary.demo.view import JsonLines, Lines, View

    view: View
    if as_json:
        view = JsonLines()
    elif lively():
        from canary.demo.screen import Screen

        view = Screen()
    else:
        view = Lines()
    try:
        verdicts = asyncio.run(tell(view, fast=fast, once=once))
    except asyncio.CancelledError:  # SIGTERM before the end
        return 143
    return 0 if all(verdict.right for verdict in verdicts) else 1
