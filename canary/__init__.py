"""Shadow and canary traffic controller."""

__version__ = "0.1.0"
