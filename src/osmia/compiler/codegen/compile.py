"""The way of a module through the compiler."""

from __future__ import annotations

from osmia.compiler.codegen.module import ModuleLowering
from osmia.compiler.codegen.target import V3, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Module


def llvm_ir(module: Module, target: Target = V3) -> str:
    """The module as LLVM text before optimisation, for debugging."""
    return ModuleLowering(module, target).text()


def optimised_ir(module: Module, target: Target = V3) -> str:
    """The module as LLVM text after optimisation, for debugging."""
    from osmia.compiler.codegen.llvm import llvm

    return llvm().compile(llvm_ir(module, target), target, keep_text=True)[1]


def compile_module(module: Module, target: Target = V3) -> bytes:
    """An ELF object."""
    from osmia.compiler.codegen.llvm import llvm

    lowering = ModuleLowering(module, target)
    blob, _ = llvm().compile(lowering.text(), target)
    return lowering.kernel_types.clean(blob)
