"""BTF: the kernel's type information, read lazily and written."""
