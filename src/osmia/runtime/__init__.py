"""Sessions: load, attach, stream, decode, print."""
