"""What is counted for a rollout, fixed when its profile is frozen: metrics, ages, thresholds, bets' alternatives."""

from canary.split.spec import Frozen
