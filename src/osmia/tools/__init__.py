"""The ready tools; one file each."""
