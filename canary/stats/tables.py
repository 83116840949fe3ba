"""What each cell means to each contrast: every contrast reads four counts, and all of them are sums of cells.

A request that has started and not yet ended is in the place of one still open. Its end moves it to its true place, if it
came by the contrast's age; an end after that age moves nothing, so a settled count never changes.

The four counts of a canary contrast are candidate scored 1, candidate scored 0, stable scored 1, stable scored 0; of a pair
contrast, both 1, only candidate 1, only stable 1, both 0. A pair that has not come by its age is open on at least one side,
and nobody knows on which. It is scored as it hurts the claim most: on the rollback side candidate 0 and stable 1, on the
promote side candidate 1 and stable 0. A pair's factor grows (promote: shrinks) with yC - rho * yS, so with the true bits it
would be at least as high: at each look the e-value is at most that of the process which knows the true bits, and that one
is a test supermartingale. An answer whose client left is unknown in the same way, in the pair of its copy.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.stats.cells import ARM_SHIFT, END, FIRST_BYTE, METRIC_SHIFT, PAIR_DROP, PAIR_END, PAIR_START, START
from canary.stats.contrast import CELLS, FIRST_BYTE_RULES, Contrast, Rule, Vector
from canary.stats.frozen import Scoring
from canary.stats.scoring import BETTER, FAILED, WORSE

__all__ = ["CELLS", "Tables", "Vector", "tables_of"]

_BIN_MASK: Final = (1 << 16) - 1
_ARM_BIT: Final = 1 << ARM_SHIFT


class Tables:
    """The columns of one stratum: four for each contrast, then the starts of candidate and stable, which settle at once."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        contrasts = scoring.contrasts
        self.columns = CELLS * len(contrasts) + 2
        self.ages_us: npt.NDArray[np.int64] = np.array(sorted({contrast.age_us for contrast in contrasts}), dtype=np.int64)
        places = np.searchsorted(self.ages_us, [contrast.age_us for contrast in contrasts])
        self.age_of_column: npt.NDArray[np.int64] = np.concatenate(
            [np.repeat(places, CELLS), np.full(2, len(self.ages_us))]
        ).astype(np.int64)
        self._vectors: dict[int, Vector] = {}

    def vector(self, code: int) -> Vector:
        """What one count of a cell (its key without stratum and second) adds to each column."""
        found = self._vectors.get(code)
        if found is None:
            found = self._vectors[code] = self._vector(code)
        return found

    def _vector(self, code: int) -> Vector:
        metric, bin_index, candidate = code >> METRIC_SHIFT, code & _BIN_MASK, bool(code & _ARM_BIT)
        vector = np.zeros(self.columns)
        for index, contrast in enumerate(self.scoring.contrasts):
            part = vector[CELLS * index : CELLS * (index + 1)]
            if contrast.pairs:
                self._add_pair(part, contrast, metric, bin_index)
            elif metric == START:
                part[_place(candidate, _open_score(contrast, candidate))] += 1
            elif metric == (FIRST_BYTE if contrast.rule in FIRST_BYTE_RULES else END):
                self._add_end(part, contrast, candidate, bin_index)
        if metric == START:
            vector[-2 if candidate else -1] = 1
        if metric not in {START, END, PAIR_START, PAIR_DROP, PAIR_END, FIRST_BYTE}:
            raise ValueError(f"cell {code:#x}: metric {metric} is not one that this scoring counts")
        return vector

    def _add_end(self, part: Vector, contrast: Contrast, candidate: bool, bin_index: int) -> None:
        scoring = self.scoring
        thresholds = _thresholds(scoring, contrast, candidate)
        rest, level = divmod(bin_index, len(thresholds) + 1)
        status, age_class = divmod(rest, len(scoring.ages_us) + 1)
        if age_class > scoring.ages_us.index(contrast.age_us):
            return
        failed = status == FAILED
        limit_us = contrast.candidate_us if candidate else contrast.stable_us
        exceeded = bool(limit_us) and level > thresholds.index(limit_us)
        part[_place(candidate, _open_score(contrast, candidate))] -= 1
        part[_place(candidate, _score(contrast.rule, failed, exceeded))] += 1

    def _add_pair(self, part: Vector, contrast: Contrast, metric: int, bin_index: int) -> None:
        unknown = _pair_place(contrast.promote, not contrast.promote)
        if metric == PAIR_START:
            part[unknown] += 1
        elif metric == PAIR_DROP:
            part[unknown] -= 1
        elif metric == PAIR_END:
            part[unknown] -= 1
            part[self._true_place(contrast, bin_index)] += 1

    def _true_place(self, contrast: Contrast, bin_index: int) -> int:
        scoring = self.scoring
        classes = len(scoring.pair_stable_us) + 3
        rest, stable = divmod(bin_index, classes)
        order, candidate = divmod(rest, classes)
        if contrast.rule is Rule.LATER:
            return _pair_place(order == WORSE, order == BETTER)
        return _pair_place(
            _pair_score(contrast, candidate, scoring.pair_candidate_us, contrast.candidate_us, left_scores=contrast.promote),
            _pair_score(contrast, stable, scoring.pair_stable_us, contrast.stable_us, left_scores=not contrast.promote),
        )


@lru_cache(maxsize=64)
def tables_of(scoring: Scoring) -> Tables:
    """The tables of a scoring, built once."""
    return Tables(scoring)


def _thresholds(scoring: Scoring, contrast: Contrast, candidate: bool) -> tuple[int, ...]:
    """Those that the bin of the contrast's cells speaks of."""
    if contrast.rule in FIRST_BYTE_RULES:
        return scoring.first_candidate_us if candidate else scoring.first_stable_us
    return scoring.candidate_us if candidate else scoring.stable_us


def _place(candidate: bool, scored: bool) -> int:
    return (0 if candidate else 2) + (0 if scored else 1)


def _pair_place(candidate: bool, stable: bool) -> int:
    return (0 if candidate else 2) + (0 if stable else 1)


def _open_score(contrast: Contrast, candidate: bool) -> bool:
    """What an exchange that is open at the age scores. Errors are bracketed: open is against the claim in both arms."""
    if contrast.rule in {Rule.SLOW, Rule.OPEN}:
        return True
    return candidate if contrast.promote else not candidate


_SCORES: Final[dict[Rule, Callable[[bool, bool], bool]]] = {
    Rule.BAD: lambda failed, _: failed,
    Rule.UNWELL: lambda failed, _: failed,
    Rule.SLOW: lambda failed, exceeded: failed or exceeded,
    Rule.OPEN: lambda _, exceeded: exceeded,
    Rule.GONE: lambda failed, _: failed,
    Rule.TARDY: lambda failed, exceeded: failed or exceeded,
    Rule.UNMET: lambda failed, exceeded: failed or exceeded,
    Rule.SILENT: lambda _, exceeded: exceeded,
}


def _score(rule: Rule, failed: bool, exceeded: bool) -> bool:
    """What an exchange that has ended scores."""
    return _SCORES[rule](failed, exceeded)


def _pair_score(contrast: Contrast, side: int, thresholds: tuple[int, ...], limit_us: int, *, left_scores: bool) -> bool:
    if side == len(thresholds) + 2:
        return left_scores
    failed = side == len(thresholds) + 1
    return _score(contrast.rule, failed, bool(limit_us) and side > thresholds.index(limit_us))
