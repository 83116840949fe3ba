"""Numbers and names as they stand in a decision's sentence."""

import math
from typing import Final

from canary.stats.evidence import MetricEvidence

NAMES: Final = {
    "error_fast": "early errors",
    "error": "errors",
    "error_timeout": "errors and timeouts",
    "shadow_error": "errors in the shadow",
    "latency": "latency",
    "p50": "p50 latency",
    "p95": "p95 latency",
    "p99": "p99 latency",
    "client_error": "client errors",
    "abandoned": "abandoned answers",
}

COUNTED: Final = {
    "latency": "slow answers",
    "throughput": "requests without a good end",
    "p50": "answers over the p50 limit",
    "p95": "answers over the p95 limit",
    "p99": "answers over the p99 limit",
}
"""What the numbers of a metric count, where that is not its name."""

_LARGEST_IN_FULL: Final = math.log(1e9)
_WHOLE_FROM: Final = 1_000
_UNREADABLE_FROM: Final = 1e12
_UNREADABLE_BELOW: Final = 1e-6


def name_of(metric: str) -> str:
    """A metric's name for people."""
    return NAMES.get(metric, metric.replace("_", " "))


def counted(metric: str) -> str:
    """What a metric's numbers count, for people."""
    return COUNTED.get(metric) or name_of(metric)


def share(part: int, whole: int) -> str:
    """A rate in percent, three digits at most: `14.8 %`."""
    if whole <= 0:
        return "0 %"
    percent = 100.0 * part / whole
    digits = 1 if percent >= 0.1 or percent == 0 else 3
    return f"{percent:.{digits}f}".rstrip("0").rstrip(".") + " %"


def weight(weight_bp: int) -> str:
    """A weight in basis points as a percentage: `0.5 %`."""
    return f"{weight_bp / 100:g} %"


def e_value(log_e: float) -> str:
    """An e-value from its natural logarithm: `e=3,210`, or a power of ten where it is beyond reading."""
    if log_e > _LARGEST_IN_FULL:
        return f"e=10^{log_e / math.log(10):.0f}"
    return f"e={_plain(math.exp(log_e))}"


def needed(log_need: float) -> str:
    """A threshold from its natural logarithm: `478`."""
    return _plain(math.exp(min(log_need, _LARGEST_IN_FULL)))


def evidence(log_e: float | None, need: float | None) -> str:
    """`e=609 of 20`: an e-value and the one that is needed; empty where the side does not exist."""
    return "" if log_e is None or need is None else f"{e_value(log_e)} of {needed(need)}"


def promotion(metric: MetricEvidence) -> tuple[float, float, bool] | None:
    """Log e and need of the promote side, of requests or of pairs, whichever is further, and whether it is that of pairs."""
    if metric.log_e_promote is None or metric.need_promote is None:
        return None
    canary = metric.log_e_promote, metric.need_promote
    if metric.log_e_promote_pairs is None or metric.need_promote_pairs is None:
        return *canary, False
    pairs = metric.log_e_promote_pairs, metric.need_promote_pairs
    return (*pairs, True) if pairs[0] - pairs[1] > canary[0] - canary[1] else (*canary, False)


def span(seconds: float) -> str:
    """A duration in the unit that reads best: `42 s`, `3.5 min`, `2 h`, `1.5 d`."""
    seconds = max(0.0, seconds)
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def comparison(metric: MetricEvidence) -> str:
    """Both arms' numbers: `errors 14.8 % on candidate against 0.5 % on stable (37/250 against 5/1,010)`."""
    name = counted(metric.metric)
    if metric.mean_candidate is not None and metric.mean_stable is not None:
        mine, theirs = amount(metric.mean_candidate, metric.unit), amount(metric.mean_stable, metric.unit)
        return (
            f"{name} {mine} on candidate against {theirs} on stable ({metric.n_candidate:,} and {metric.n_stable:,} requests)"
        )
    copied = f"candidate worse in {metric.pairs_worse:,} of {metric.pairs:,} pairs and better in {metric.pairs_better:,}"
    if not metric.n_candidate and not metric.n_stable:
        return f"{name}: {copied}" if metric.pairs else f"{name}: nothing counted yet"
    arms = (
        f"{name} {share(metric.bad_candidate, metric.n_candidate)} on candidate against"
        f" {share(metric.bad_stable, metric.n_stable)} on stable"
        f" ({metric.bad_candidate:,}/{metric.n_candidate:,} against {metric.bad_stable:,}/{metric.n_stable:,})"
    )
    return f"{arms}, {copied}" if metric.pairs else arms


def counts(metric: MetricEvidence) -> str:
    """What a metric's evidence was counted from: `4/812 against 31/15,540`, means, or pairs."""
    if metric.mean_candidate is not None and metric.mean_stable is not None:
        return f"{amount(metric.mean_candidate, metric.unit)} against {amount(metric.mean_stable, metric.unit)}"
    if not metric.n_candidate and not metric.n_stable and not metric.pairs:
        return "nothing counted yet"
    if metric.n_candidate or metric.n_stable:
        return f"{metric.bad_candidate:,}/{metric.n_candidate:,} against {metric.bad_stable:,}/{metric.n_stable:,}"
    return pairs(metric)


def pairs(metric: MetricEvidence) -> str:
    """What a metric's pairs were: `worse in 3, better in 5 of 539 pairs`."""
    return f"worse in {metric.pairs_worse:,}, better in {metric.pairs_better:,} of {metric.pairs:,} pairs"


def amount(value: float, unit: str) -> str:
    """An amount in its metric's unit, four digits: `0.004212 USD`, `12,346 tokens`."""
    return f"{number(value)} {unit}".strip()


def number(value: float, *, sign: bool = False) -> str:
    """Four digits without an exponent, as far as one can read that; `sign`: with a plus where it is more."""
    size, plus = abs(value), "+" if sign else ""
    if size >= _WHOLE_FROM:
        return f"{value:{plus},.0f}" if size < _UNREADABLE_FROM else f"{value:{plus}.3e}"
    if 0 < size < _UNREADABLE_BELOW:
        return f"{value:{plus}.3e}"
    digits = max(0, 3 - math.floor(math.log10(size))) if size else 0
    text = f"{value:{plus}.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: float) -> str:
    if value < 0.001:
        return "under 0.001"
    if value < 10:
        return f"{value:.2g}"
    return f"{value:,.0f}"
