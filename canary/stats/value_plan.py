"""What a rollout counts of its answers' values, and under which margins: frozen with the profile, a part of its scoring."""

from enum import StrEnum
from typing import Final

import msgspec

from canary.stats.mean_metric import Margin, MeanMetric
from canary.terms import Frozen, MetricSpec

NO_PROFILE: Final = "no_profile"
"""The profile holds no values of the metric: nothing may be promoted on it."""
NO_PAIRS: Final = "no_pairs"
"""It compares pairs, and the rollout has no shadow."""
NO_CAP: Final = "no_cap"
"""Higher is better, and nothing says how high a value can be."""
NO_MARGIN: Final = "no_margin"
"""What is called harmless is no more than stable itself: an equal candidate could never be shown to keep to it."""
NO_ANSWERS: Final = "no_answers"
"""Nothing was found where the answers' text was said to be."""


class Form(StrEnum):
    """How a metric's values become evidence."""

    RATE = "rate"
    AMOUNT = "amount"  # lower is better: a cost
    QUALITY = "quality"  # higher is better: 1 - value / cap is lost
    PREFERENCE = "preference"
    OVER_CAP = "over_cap"  # the share of an amount's values above its cap
    DIVERSITY = "diversity"


class ValueMetric(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """One metric of values. Its cells are numbered from `number`: its values, then its pairs under each pair margin."""

    form: Form
    spec: MetricSpec
    share: float = 0.0  # of the rollback error budget; raw until `ValuePlan.scaled`
    index: int = -1  # in `Fact.values`; -1: read from the fact itself
    number: int = 0
    mean: MeanMetric | None = None  # None: abstains
    rollback: Margin | None = None
    rollback_pairs: Margin | None = None
    promote: tuple[Margin, ...] = ()  # one for each stage
    promote_pairs: tuple[Margin, ...] = ()  # one for each distinct factor of an early stage, then the shadow's
    stage_pairs: tuple[int, ...] = ()  # for each stage its place in `promote_pairs`; -1: canary evidence alone
    shadow_pairs: int = -1  # place in `promote_pairs` of the margin on the way out of the shadow
    shadow_weight: float = 0.0  # of the pairs in the rollback side's e-value
    abstains: str = ""  # why neither side says anything
    promote_abstains: str = ""  # why its promote side says nothing

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.spec.name

    @property
    def in_canary(self) -> bool:
        """Whether each answer's value is counted in a cell of its own."""
        return self.mean is not None and self.form in {Form.RATE, Form.AMOUNT, Form.QUALITY}

    @property
    def pair_margins(self) -> tuple[Margin, ...]:
        """The margins over pairs, in the order of their cells."""
        return (*((self.rollback_pairs,) if self.rollback_pairs else ()), *self.promote_pairs)

    @property
    def pair_numbers(self) -> int:
        """Cell numbers of pairs: values that are 0 or 1 have one for all margins, as nothing of theirs is rounded."""
        binary = self.mean is not None and self.mean.binary
        return min(1, len(self.pair_margins)) if binary else len(self.pair_margins)

    @property
    def numbers(self) -> int:
        """Cell numbers in use."""
        return int(self.in_canary or self.form is Form.DIVERSITY) + self.pair_numbers

    @property
    def rare(self) -> bool:
        """Whether a handful of events is not enough to roll back."""
        return self.form in {Form.RATE, Form.OVER_CAP}


class ValuePlan(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """All metrics of values of one rollout."""

    metrics: tuple[ValueMetric, ...] = ()
    strata: int = 1
    age_us: int = 0  # the one scoring age of all values: the timeout's
    key: bytes = b""  # under which answers fall into bins
    rare_share: float = 0.0  # raw share of each rare guard; throughput, counted elsewhere, takes the same

    @property
    def share(self) -> float:
        """Raw shares of the rollback error budget, together."""
        return sum(metric.share for metric in self.metrics)

    def scaled(self, whole: float) -> "ValuePlan":
        """With shares of the whole budget: `whole` is what the raw shares of all metrics of the rollout add up to."""
        metrics = tuple(msgspec.structs.replace(metric, share=metric.share / whole) for metric in self.metrics)
        return msgspec.structs.replace(self, metrics=metrics, rare_share=self.rare_share / whole)
