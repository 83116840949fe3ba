"""Imagined candidates: a profile's answers made worse in one way, and the cells that so many of them would count.

Every bin of the profile's histograms is one kind of answer with its own chance, so no drawing of samples blurs rare ones.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from canary.stats.contrast import Vector
from canary.stats.facts import Fact
from canary.stats.profile import Profile, upper_us
from canary.stats.scoring import Scoring, ends, pair_ends, pair_starts, starts
from canary.stats.value_profile import ValueProfile
from canary.terms import Arm, Better, Frozen, Measures, MetricKind, MetricSpec

SECOND_US: Final = 1_000_000
_QUICK_US: Final = 50_000
"""How soon an answer fails where the profile has seen none fail."""
_COPIES: Final = 3
"""Answers of one latency, each with values of its own."""
_PAIRS: Final = 1_000
"""Kinds of pairs of good answers that are drawn."""
_ID: Final = 16


Keys = tuple[tuple[int, ...], tuple[int, ...]]


class Effect(Frozen, frozen=True, kw_only=True):
    """In what way a candidate is worse than stable; as it stands, in none."""

    name: str
    errors: float = 1.0  # times stable's rate of failures
    outage: bool = False
    latency: float = 1.0  # times every latency
    metric: str = ""  # a declared metric that changes
    times: float = 1.0  # its values (amounts) or its rate
    worst: float = 0.0  # share of its values that become the worst


EQUAL: Final = Effect(name="equal")


class Answer(Frozen, frozen=True, kw_only=True):
    """One kind of answer and its chance."""

    chance: float
    stratum: int
    fact: Fact


def answers(profile: Profile, measures: Measures, effect: Effect, rng: np.random.Generator) -> list[Answer]:
    """All kinds of answers of a version that does to the profile what the effect says; their chances add up to 1."""
    whole = max(profile.n, 1)
    found: list[Answer] = []
    for stratum in range(max(1, len(profile.strata))):
        part = profile.stratum(stratum)
        if part.n:
            found += _of_stratum(part, part.n / whole, stratum, _Values(profile.values, measures, effect, stratum, rng))
    return found


def failing(found: Iterable[Answer]) -> float:
    """The share of answers that fail."""
    return sum(answer.chance for answer in found if answer.fact.failed)


class _Values:
    """Draws the values of one answer's declared metrics, and knows how the answer itself is made worse."""

    def __init__(self, seen: ValueProfile, measures: Measures, effect: Effect, stratum: int, rng: np.random.Generator) -> None:
        self.effect = effect
        self._rng = rng
        names = ("", *measures.classes)
        self._specs = measures.metrics
        self._seen = [_spread(seen.values(spec, names[min(stratum, len(names) - 1)])) for spec in measures.metrics]
        self.copies = _COPIES if measures.metrics else 1
        self._says = bool(measures.diversity)

    def fact(self, *, latency_us: int, failed: bool, left: bool = False) -> Fact:
        """One answer."""
        values = tuple(self._value(spec, spread) for spec, spread in zip(self._specs, self._seen, strict=True))
        return Fact(
            age_us=latency_us,
            latency_us=latency_us,
            failed=failed,
            left=left,
            ttfb_us=latency_us if failed else latency_us // 2,
            exchange_id=self._rng.bytes(_ID),
            values=values,
            answer=self._rng.bytes(_ID) if self._says else b"",
        )

    def _value(self, spec: MetricSpec, spread: "_Spread | None") -> float | None:
        if spread is None:
            return None
        at, other = self._rng.random(2).tolist()  # as many draws whatever the effect: alike versions stay alike
        value = float(spread.values[np.searchsorted(spread.until, at)])
        mine = self.effect.metric == spec.name
        if spec.kind is MetricKind.RATE:
            more = max(0.0, (self.effect.times - 1) * spread.mean / (1 - spread.mean)) if mine and spread.mean < 1 else 0.0
            return 1.0 if value or other < more else 0.0
        worst = mine and other < self.effect.worst
        if spec.better is Better.HIGHER and spec.cap is not None:
            return 0.0 if worst else spec.cap * (1 - value)  # the profile keeps what is lost
        return value * (self.effect.times if mine else 1.0)


class _Spread(NamedTuple):
    """A profile's values of one metric in one class."""

    values: Vector
    until: Vector  # cumulated chance
    mean: float


def _spread(seen: dict[float, int]) -> _Spread | None:
    if not seen:
        return None
    values, counts = np.array(list(seen)), np.array(list(seen.values()), dtype=np.float64)
    chances = counts / counts.sum()
    until = np.cumsum(chances)
    until[-1] = 1.0
    return _Spread(values, until, float(values @ chances))


def _of_stratum(part: Profile, share: float, stratum: int, values: _Values) -> Iterator[Answer]:
    effect = values.effect
    bad = 1.0 if effect.outage else min(1.0, effect.errors * part.rate(part.failed))
    good = part.successes + part.left
    kinds = [(histogram, left) for histogram, left in ((part.success_latency, False), (part.left_latency, True))]
    for histogram, left in kinds if bad < 1 else ():
        for bin_index, count in histogram:
            latency_us = max(1, round(effect.latency * upper_us(bin_index) * 0.995))
            for _ in range(values.copies):
                fact = values.fact(latency_us=latency_us, failed=False, left=left)
                yield Answer(chance=share * (1 - bad) * count / good / values.copies, stratum=stratum, fact=fact)
    failures = part.failed_age if part.failed_age and not effect.outage else ()
    total = sum(count for _, count in failures)
    for bin_index, count in failures:
        fact = values.fact(latency_us=max(1, round(upper_us(bin_index))), failed=True)
        yield Answer(chance=share * bad * count / total, stratum=stratum, fact=fact)
    if not failures and bad:
        yield Answer(chance=share * bad, stratum=stratum, fact=values.fact(latency_us=_QUICK_US, failed=True))


class Kinds:
    """Kinds of events with their chances and cells: draws what n of them count."""

    def __init__(self, chances: Sequence[float], keys: Sequence[Keys]) -> None:
        """`keys` holds the cells of each kind for a start in second 0 of a minute and in second 1."""
        whole = float(sum(chances))
        self._chances = np.array(chances) / whole if whole else np.zeros(0)
        found = sorted({pair for first, second in keys for pair in zip(first, second, strict=True)})
        place = {pair: at for at, pair in enumerate(found)}
        self._keys = np.array([first for first, _ in found], dtype=np.int64)
        self._steps = np.array([second - first for first, second in found], dtype=np.int64)
        cells = [(row, place[pair]) for row, own in enumerate(keys) for pair in zip(*own, strict=True)]
        self._kind = np.array([kind for kind, _ in cells], dtype=np.int64)
        self._cell = np.array([cell for _, cell in cells], dtype=np.int64)

    def expected(self, n: int) -> dict[int, int]:
        """Key -> rounded count of n events that go exactly as on average, all in second 0."""
        return self._counted(n * self._chances, second=0)

    def draw(self, n: int, rng: np.random.Generator, *, second: int) -> dict[int, int]:
        """Key -> count of n events that started in this second of a minute."""
        if not n or not len(self._chances):
            return {}
        return self._counted(rng.multinomial(n, self._chances).astype(np.float64), second=second)

    def _counted(self, events: Vector, *, second: int) -> dict[int, int]:
        """Cells of so many events of each kind; few cells belong to a kind, so they are summed one by one."""
        summed = np.bincount(self._cell, weights=events[self._kind], minlength=len(self._keys))
        counts = np.rint(summed).astype(np.int64)
        there = np.flatnonzero(counts)
        keys = self._keys[there] + second * self._steps[there]
        return dict(zip(keys.tolist(), counts[there].tolist(), strict=True))


def request_kinds(scoring: Scoring, arm: Arm, found: Sequence[Answer]) -> Kinds:
    """What one arm's requests count, start and end."""
    keys = [
        _both(lambda at_us, answer=answer: _request(scoring, arm, answer, at_us))  # type: ignore[misc]
        for answer in found
    ]
    return Kinds([answer.chance for answer in found], keys)


def pair_kinds(scoring: Scoring, live: Sequence[Answer], shadow: Sequence[Answer], rng: np.random.Generator) -> Kinds:
    """What pairs count."""
    drawn = [*drawn_pairs(live, shadow, rng)]
    keys = [
        _both(lambda at_us, one=one, other=other: _pair(scoring, one, other, at_us))  # type: ignore[misc]
        for _, one, other in drawn
    ]
    return Kinds([chance for chance, _, _ in drawn], keys)


def drawn_pairs(
    live: Sequence[Answer], shadow: Sequence[Answer], rng: np.random.Generator
) -> Iterator[tuple[float, Answer, Answer]]:
    """(chance, live, shadow), the two answers drawn apart from each other: real ones resemble each other, and say more."""
    for mine_failed in (False, True):
        for theirs_failed in (False, True):
            ours, theirs = _those(live, mine_failed), _those(shadow, theirs_failed)
            both = _share(ours) * _share(theirs)
            if not both:
                continue
            draws = _PAIRS // 10 if mine_failed or theirs_failed else _PAIRS
            # Each drawing stands in both orders: else equal versions would seem unequal by the luck of this one draw.
            one_way, other_way = rng.random(draws // 2), rng.random(draws // 2)
            at, across = np.concatenate([one_way, other_way]), np.concatenate([other_way, one_way])
            for one, other in zip(_picked(ours, at), _picked(theirs, across), strict=True):
                yield both / draws, one, other


def _both(cells: Callable[[int], tuple[int, ...]]) -> Keys:
    return cells(0), cells(SECOND_US)


def _request(scoring: Scoring, arm: Arm, answer: Answer, at_us: int) -> tuple[int, ...]:
    opened = starts(scoring, arm, at_us, stratum=answer.stratum)
    return opened + ends(scoring, arm, at_us, answer.fact, stratum=answer.stratum)


def _pair(scoring: Scoring, live: Answer, shadow: Answer, at_us: int) -> tuple[int, ...]:
    meant = pair_starts(scoring, at_us, stratum=live.stratum)
    return meant + pair_ends(scoring, at_us, live.fact, shadow.fact, stratum=live.stratum)


def _share(found: Iterable[Answer]) -> float:
    return sum(answer.chance for answer in found)


def _those(found: Sequence[Answer], failed: bool) -> list[Answer]:
    return [answer for answer in found if answer.fact.failed is failed]


def _picked(found: Sequence[Answer], at: Vector) -> list[Answer]:
    """The answers at these places, 0 to 1, of their cumulated chances."""
    until = np.cumsum([answer.chance for answer in found])
    places = np.searchsorted(until / until[-1], at, side="right")
    return [found[place] for place in np.minimum(places, len(found) - 1).tolist()]
