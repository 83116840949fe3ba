"""What the proxy bench measures: each case says who runs, at which mix of live and copied traffic, under which load."""

from dataclasses import dataclass
from typing import Final

from tests.bench.peers import FORWARD, FULL, MIRROR, Mix

DEAD: Final = "dead"
"""A candidate site where nothing listens."""

EQUAL_RATE: Final = 3_000.0
LATENCY_RATE: Final = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One row of a case: a peer, and the site that stands behind its candidate."""

    label: str
    peer: str
    candidate: str = "candidate"
    mix: Mix | None = None  # in place of the case's


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One table of the report."""

    name: str
    says: str
    mix: Mix
    entrants: tuple[Entrant, ...]
    rate: float = 0.0
    compared: tuple[str, ...] = ("rps", "cpu_us")  # figures whose ratios are shown
    reference: str = ""  # the run that all others are compared with; empty: canary is compared with each


def everyone(*peers: str) -> tuple[Entrant, ...]:
    """Each peer under its own name."""
    return tuple(Entrant(label=peer, peer=peer) for peer in peers)


SATURATED: Final = everyone("canary", "canary-pure", "nginx", "envoy", "aiohttp", "floor", "direct")
EQUAL: Final = everyone("canary", "canary-pure", "nginx", "envoy", "floor")  # the aiohttp baseline does not reach the rate
PACED: Final = everyone("canary", "canary-pure", "nginx", "envoy", "aiohttp", "direct")
SHADOWS: Final = tuple(
    Entrant(label=label, peer="canary", candidate=site, mix=mix)
    for label, site, mix in (
        ("healthy", "candidate", MIRROR),
        ("stalled", "stalled", MIRROR),
        ("dead", DEAD, MIRROR),
        ("none", "candidate", FORWARD),
    )
)

CASES: Final = (
    Case(name="forward", says="as fast as it goes, stable alone", mix=FORWARD, entrants=SATURATED),
    Case(name="mirror", says="as fast as it goes, every request copied to the candidate", mix=MIRROR, entrants=SATURATED),
    Case(
        name="full", says="as fast as it goes, 5 % live to the candidate, the rest copied to it", mix=FULL, entrants=SATURATED
    ),
    *(
        Case(
            name=f"{mix.name}-3000",
            says="CPU at an equal 3,000 requests a second",
            mix=mix,
            entrants=EQUAL,
            rate=EQUAL_RATE,
            compared=("cpu_us",),
        )
        for mix in (FORWARD, MIRROR, FULL)
    ),
    Case(
        name="latency",
        says="latency at 1,000 requests a second, counted from the instant each was due; full mix",
        mix=FULL,
        entrants=PACED,
        rate=LATENCY_RATE,
        compared=("p50_us", "p99_us"),
    ),
    Case(
        name="shadow",
        says="as fast as it goes, each request copied to a candidate that is healthy, stalled or dead; and none copied",
        mix=MIRROR,
        entrants=SHADOWS,
        compared=("rps", "p99_us"),
        reference="healthy",
    ),
    Case(
        name="shadow-1000",
        says="the same at 1,000 requests a second",
        mix=MIRROR,
        entrants=SHADOWS,
        rate=LATENCY_RATE,
        compared=("p50_us", "p99_us"),
        reference="healthy",
    ),
)

SITES: Final = {"stable": "", "candidate": "", "stalled": "stall=100"}
IDS: Final = "ids=1"
"""Option of a site: no two answers' heads are alike."""
