"""Captured answers to outcomes: failures, faults, durations, server-sent events."""
