"""The admin port for people: server-rendered pages that work without JavaScript."""
