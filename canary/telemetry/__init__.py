"""Logs, metrics, and the guard around extra work."""
