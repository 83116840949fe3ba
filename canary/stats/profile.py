"""Frozen summary of a route's stable traffic, folded as log-histograms."""

from canary.terms import Frozen


class Profile(Frozen, frozen=True, kw_only=True):
    """What stable looked like before a rollout."""
