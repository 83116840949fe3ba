"""What people type; every command is one file, read only when it is called."""
