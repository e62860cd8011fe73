"""Kernel and user symbols, stacks, USDT notes.

``kernel`` has the kernel's own symbols, ``process`` those of a process, ``stacks`` makes frames and text of
both; ``elf`` finds functions in a binary for uprobes, ``usdt`` static probes; ``files`` finds the binaries.
"""
