"""What one exchange was, from what was captured of it."""
