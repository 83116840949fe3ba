"""The console's colours: all text stands out from what is behind it, in light and in dark."""

import re
from pathlib import Path

import pytest

import canary.console

CSS = (Path(canary.console.__file__).parent / "static" / "console.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
)
TEXTS = sorted(set(re.findall(r"(?<![-\w])color: var\(--(\w+)\)", CSS)))
ENOUGH = 4.5  # WCAG 2.2, 1.4.3


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_defined() -> None:
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("behind", ["page", "card"])
def test_every_text_can_be_read(scheme: dict[str, str], behind: str) -> None:
    assert {"text", "soft", "link", "good", "bad"} <= set(TEXTS)
    for name in TEXTS:
        assert _contrast(scheme[name], scheme[behind]) >= ENOUGH, (name, behind)
