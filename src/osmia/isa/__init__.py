"""The BPF instruction set: RFC 9669 and the kernel's extensions, as one table."""
