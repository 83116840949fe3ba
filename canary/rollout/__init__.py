"""Plans, states, and what to do next."""
