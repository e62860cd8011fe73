"""Source languages that become typed IR."""
