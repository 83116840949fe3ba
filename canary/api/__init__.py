"""The admin port for programs: JSON over HTTP, closed to everybody who has no business there."""
