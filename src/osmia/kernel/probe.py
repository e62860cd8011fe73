"""Being written by a second helper right now: leave this file to it and import from it later."""
