"""Osmia: program the Linux kernel from Python."""
