"""The decision loop: who leads, what a tick does, and the one door to a rollout's state."""
