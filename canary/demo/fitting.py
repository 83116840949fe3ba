"""A table where there is room for it, otherwise something narrower."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement


class Fitting:
    """Is drawn wide where that fits without breaking a cell."""

    def __init__(self, wide: RenderableType, narrow: RenderableType) -> None:
        self._wide = wide
        self._narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As rich asks for it at each drawing: a terminal may have been resized."""
        unbounded = options.update(width=1_000, max_width=1_000)
        fits = Measurement.get(console, unbounded, self._wide).maximum <= options.max_width
        yield self._wide if fits else self._narrow
