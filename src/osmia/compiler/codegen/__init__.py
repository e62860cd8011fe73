"""Code generation: from the typed IR through LLVM to an ELF object."""

from __future__ import annotations

from osmia.compiler.codegen.compile import compile_module, llvm_ir, optimised_ir
from osmia.compiler.codegen.target import V3, V3_OLD, V4, Target

__all__ = ["V3", "V3_OLD", "V4", "Target", "compile_module", "llvm_ir", "optimised_ir"]
