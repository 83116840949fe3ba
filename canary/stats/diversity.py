"""Diversity of answers: a candidate that always says the same is fast, cheap, never fails, and must not win.

Each answer's digest falls into one of 256 bins. Let t be the share of an arm's requests that its most common bin holds, and
1 - t its diversity. Tolerated is a candidate that keeps half of stable's diversity: t_C <= t_S / 2 + 1/2, which a constant
answerer (t_C = 1) breaks against any stable version that is not constant itself. Only shares are compared, never which
answer it is: a candidate that says the same things in other words is no suspect.

Why it is an e-process. For one bin b of the candidate and one bin b' of stable, "the request's answer is in it" is a binary
outcome, and the linear bet of `bets` makes an e-process against mu_C(b) <= mu_S(b') / 2 + 1/2, whatever drifts. Under the
null, with b' stable's most common bin of each segment, this holds for every b, so the mean over b of these processes is one
as well. Which b' it is nobody knows; the bet's factor falls with stable's outcome, so the smallest value over b' lies below
the unknown right one. Promoting mirrors it: the null says that some b has mu_C(b) >= mu_S(b') / 2 + .55 for every b', so
the mean over b' is an e-process for that b, and the smallest over b lies below it.

A request without an answer by its age has no digest. It scores as it hurts the claim most: on the rollback side in no bin of
the candidate and in every bin of stable, on the promote side the reverse.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast, Rule, Vector
from canary.stats.kelly import LADDER
from canary.terms import BUCKETS, Frozen

BINS: Final = 256
"""Few enough to be counted each minute; two common answers share a bin once in 256."""

_KEPT: Final = 0.5
"""The share of stable's diversity that a candidate must keep."""

_PROMOTE_SLACK: Final = 0.05
"""Without it a route whose right answer is always the same could never promote."""

_CENTERS: Final = (0.5, 1.0)
"""Centring for a stable version of many answers, and for one that nearly always says the same."""

_BIN: Final = b"canary-digest"
_KEY: Final = b"canary-dig-key"


def answer_key(salt: bytes) -> bytes:
    """The key under which a rollout's answers fall into bins: from its salt, which it does not tell."""
    return blake2b(salt, digest_size=16, person=_KEY).digest()


def bin_of_answer(key: bytes, answer: bytes) -> int:
    """The answer's bin, 0..255, under a key of the rollout's: which answers share one differs from rollout to rollout."""
    return blake2b(answer, digest_size=1, key=key[:64], person=_BIN).digest()[0]


class AnswerCounts(Frozen, frozen=True, kw_only=True):
    """One segment's settled requests by the bin of their answers. Counts of any split of the requests add up, bin by bin."""

    weight_bp: int
    candidate: tuple[int, ...]  # 256
    stable: tuple[int, ...]
    candidate_silent: int = 0  # without an answer by the age
    stable_silent: int = 0


def diversity_log_e(segments: Sequence[AnswerCounts], *, promote: bool = False) -> float:
    """Log e-value against "it keeps half of stable's diversity" (promote: against "it does not, by .05").

    Units must be requests. Segments without a coin are not read.
    """
    bets = len(_CENTERS) * LADDER
    log_e = np.zeros((bets, BINS))
    for counts in segments:
        if 0 < counts.weight_bp < BUCKETS:
            log_e += _of_segment(counts, promote)
    return float(mixed(np.full(bets * BINS, -math.log(bets * BINS)), log_e.ravel()))


def _of_segment(counts: AnswerCounts, promote: bool) -> Vector:
    """Log factors of one segment, [bets, bins]: of the side over which is averaged each bin, of the other its worst one."""
    candidate, stable = _bins(counts.candidate), _bins(counts.stable)
    of_candidate = int(candidate.sum()) + counts.candidate_silent
    of_stable = int(stable.sum()) + counts.stable_silent
    if promote:
        candidate = np.array([candidate.max() + counts.candidate_silent])
    else:
        stable = np.array([stable.max() + counts.stable_silent])
    factors = _factors(counts.weight_bp, promote)
    ones = factors[:, 0, None] * candidate + factors[:, 2, None] * stable
    return ones + factors[:, 1, None] * (of_candidate - candidate) + factors[:, 3, None] * (of_stable - stable)


@lru_cache(maxsize=256)
def _bins(counts: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Both sides of a look read them."""
    if len(counts) != BINS or min(counts) < 0:
        raise ValueError(f"{BINS} counts from 0 on expected, found {len(counts)}")
    found = np.array(counts, dtype=np.int64)
    found.flags.writeable = False
    return found


@lru_cache(maxsize=256)
def _factors(weight_bp: int, promote: bool) -> Vector:
    """Log of the four factors of every bet, [bets, 4]: candidate in the bin, not in it, stable in the bin, not in it."""
    delta = 1 - _KEPT + (_PROMOTE_SLACK if promote else 0.0)
    rows = [
        Contrast(name="diversity", rule=Rule.BAD, age_us=0, promote=promote, rho=1 - _KEPT, delta=delta, center=center)
        for center in _CENTERS
    ]
    return np.concatenate([log_factors(row, weight_bp / BUCKETS) for row in rows])
