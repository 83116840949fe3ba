"""Carries outcomes up to Postgres and plans down from it."""
