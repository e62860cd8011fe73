"""How each operation becomes LLVM IR: one function per row of the table of operations."""

from __future__ import annotations

from osmia.compiler.codegen.lower import calls, control, kernel, memory, values
from osmia.compiler.codegen.lower.registry import LOWER

__all__ = ["LOWER", "calls", "control", "kernel", "memory", "values"]
