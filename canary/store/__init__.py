"""The only room that knows Postgres, the journal and the snapshot file."""
