"""The bets on all contrasts of one scoring, side by side: on all strata together, and on each alone."""

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.stats.bets import bets, even, mixed, pooled_factors, stratum_factors, throughput_factors
from canary.stats.contrast import CELLS, FAILURE_RULES, Contrast, Metric, Rule, Vector
from canary.stats.frozen import Scoring
from canary.stats.side import Ints
from canary.terms import BUCKETS, Scored

POOLED_SHARE: Final = 0.5
"""Of the rollback side's e-value; the other half is spread over the strata, to see damage in one class."""


class Family:
    """The factors of all contrasts of a scoring, padded to one shape: rows of bets that do not exist have prior 0.

    Components are [..., contrasts, pools, bets]; pool 0 is all strata together, pool 1 + s stratum s, where there are several.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        contrasts = scoring.contrasts
        sizes = [_size(contrast) for contrast in contrasts]
        self.pools = 1 + scoring.strata if scoring.strata > 1 else 1
        self.shape = (len(sizes), self.pools, max(sizes, default=1))
        self.log_prior = np.full((len(sizes), 1, self.shape[2]), -math.inf)
        for index, size in enumerate(sizes):
            self.log_prior[index, :, :size] = -math.log(size)
        self.rollback: tuple[int, ...] = tuple(index for index in sorted(scoring.read) if not contrasts[index].promote)

    def factors(self, weight_bp: int) -> tuple[Vector, Vector]:
        """Log factors of one segment, [contrasts, bets, strata, 4] and [contrasts, strata, bets, 4]; 0 without a coin."""
        scoring, (contrasts, _, most) = self.scoring, self.shape
        pooled = np.zeros((contrasts, most, scoring.strata, CELLS))
        alone = np.zeros((contrasts, scoring.strata, most, CELLS))
        for index, contrast in enumerate(scoring.contrasts):
            if contrast.pairs or 0 < weight_bp < BUCKETS:
                weight = weight_bp / BUCKETS
                rows = pooled_factors(contrast, weight, strata=scoring.strata)
                pooled[index, : len(rows)] = rows
                if self.pools > 1:
                    alone[index, :, : len(rows)] = stratum_factors(contrast, weight, strata=scoring.strata)
        return pooled, alone

    def components(self, weight_bp: int, scored: Scored, rates: Ints) -> Vector:
        """Log e that counts [strata, contrasts, 4] of one segment add to each component.

        A warm-up counts for errors alone, a segment without a coin for pairs alone.
        """
        pooled, alone = factors_of(self.scoring, weight_bp)
        counts = np.where(counted(self.scoring, scored)[:, None], rates, 0).astype(np.float64)
        found = np.empty(self.shape)
        found[:, 0] = np.einsum("sck,cbsk->cb", counts, pooled)
        if self.pools > 1:
            found[:, 1:] = np.einsum("sck,csbk->csb", counts, alone)
        return found

    def log_e(self, components: Vector, contrasts: list[int] | None = None) -> Vector:
        """Log e-value of each contrast (or of these alone) and pool, [..., contrasts, pools]."""
        return mixed(self.log_prior if contrasts is None else self.log_prior[contrasts], components)

    def rolled_back(self, log_e: Vector) -> Vector:
        """Of [..., pools], the rollback side's mixture: half all strata together, half each alone."""
        if self.pools == 1:
            return np.asarray(log_e[..., 0])
        each = math.log((1 - POOLED_SHARE) / (self.pools - 1))
        return mixed(np.array([math.log(POOLED_SHARE)] + [each] * (self.pools - 1)), log_e)

    def promoted(self, log_e: Vector) -> Vector:
        """Of [..., pools], the promote side's: all strata together, and at most what each gated one says by itself."""
        return np.asarray(log_e[..., [0, *(1 + stratum for stratum in self.scoring.gated)]].min(axis=-1))

    def against(self, metric: Metric, log_e: Vector) -> Vector:
        """A metric's rollback side, of [..., contrasts]: averaged over thresholds inside a lane, then over lanes."""
        canary = averaged(log_e[..., list(metric.canary)])
        if not metric.shadow:
            return canary
        shadow = averaged(log_e[..., list(metric.shadow)])
        return np.asarray(np.logaddexp(_log(1 - metric.shadow_weight) + canary, _log(metric.shadow_weight) + shadow))


def averaged(log_e: Vector) -> Vector:
    """The mean of e-values over the last axis."""
    return mixed(even(log_e.shape[-1]), log_e)


def _log(share: float) -> float:
    return math.log(share) if share else -math.inf


def _size(contrast: Contrast) -> int:
    return len(throughput_factors(0.5)) if contrast.rule is Rule.GONE else len(bets(contrast, 0.5))


@lru_cache(maxsize=256)
def counted(scoring: Scoring, scored: Scored) -> npt.NDArray[np.bool_]:
    """Which contrasts a scored segment counts for."""
    return np.array([scored is Scored.ALL or contrast.rule in FAILURE_RULES for contrast in scoring.contrasts])


@lru_cache(maxsize=64)
def family_of(scoring: Scoring) -> Family:
    """The family of a scoring, built once."""
    return Family(scoring)


@lru_cache(maxsize=512)
def factors_of(scoring: Scoring, weight_bp: int) -> tuple[Vector, Vector]:
    """The factors of one segment's weight, built once."""
    return family_of(scoring).factors(weight_bp)
