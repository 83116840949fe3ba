"""Text to one checked, hashed configuration; every problem with its place."""
