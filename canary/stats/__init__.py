"""Sequential statistics over integer counts."""
