"""The command osmia."""
