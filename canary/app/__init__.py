"""The composition root: the only place that constructs everything and starts processes."""
