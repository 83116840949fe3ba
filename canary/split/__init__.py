"""Hash of salt and unit to bucket to arm; route matching; the immutable route table."""
