"""The mixture over restarts at every look of a run at once.

What `canary.stats.late` does look by look, here for an array of looks; `tests/simulation/test_goals_engine.py` holds it
against the product's own.
"""

import math
from collections.abc import Callable

import numpy as np

from canary.stats.restarts import BLOCK_S, FROM_START, LENGTH
from tests.bench.stats.draws import Floats, Ints


def restarted(parts: Floats, after: Ints, combine: Callable[[Floats], Floats], *, per_s: float) -> Floats:
    """Log e at each look from cumulative components [looks, components]; blocks are minutes of requests.

    Raises ValueError where no look stands at the end of a block.
    """
    each = max(1, round(BLOCK_S * per_s))
    block = (after - 1) // each  # of each look, from 0
    blocks = int(block[-1]) + 1
    ends = np.searchsorted(after, np.arange(1, blocks) * each)  # the looks at which blocks end
    if (after[ends] != np.arange(1, blocks) * each).any():
        raise ValueError(f"a look is needed after every {each} requests, where a block ends")
    begins = np.concatenate([[0], ends + 1])  # the first look of each block
    terms = np.log(1 / (block + 2.0))  # what is kept for starts still to come
    for start in range(blocks):
        since = int(begins[start])
        until = int(begins[start + LENGTH]) if start + LENGTH < blocks else len(after)  # then its block is no longer kept
        own = combine(parts[since:until] - (parts[since - 1] if since else 0.0))
        terms[since:until] = np.logaddexp(terms[since:until], own - math.log((start + 1) * (start + 2)))
    return np.asarray(np.logaddexp(math.log(FROM_START) + combine(parts), math.log(1 - FROM_START) + terms))
