"""Kernel and user symbols, stacks, USDT notes."""
