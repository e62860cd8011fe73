"""The way of a module through the compiler."""

from __future__ import annotations

from osmia.compiler import legality
from osmia.compiler.codegen.module import ModuleLowering
from osmia.compiler.codegen.target import V3, V4, Target
from osmia.compiler.passes import place_scratch, prune
from osmia.diagnostics import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.stack import Code
    from osmia.compiler.ir import Module

BUDGETS = (320, 160, 64, 0)
"""Bytes of aggregates left on the stack of a chain of calls, in the order they are tried; LLVM needs the rest."""
SURELY_SMALL = 1500
"""Weight of a module (see :func:`weight`) below which its code fits 16-bit jumps whatever LLVM does to it."""
MOST_INSNS = 20_000
"""Slots of v4 code of one function; the same in v3 stays below the 32,767 that a jump can span."""


def prepare(module: Module, target: Target = V3, budget: int = BUDGETS[0]) -> Module:
    """The module as code generation takes it: checked, without dead functions, large locals in scratch memory.

    :raises CompileError: what legality or the passes refuse.
    """
    legality.check(module, target)
    return _placed(prune(module), target, budget)


def _placed(module: Module, target: Target, budget: int) -> Module:
    placed = place_scratch(module, target, budget)
    if placed is not module:
        legality.check(placed, target)
    return placed


def llvm_ir(module: Module, target: Target = V3) -> str:
    """The module as LLVM text before optimisation, for debugging.

    :raises CompileError: as :func:`compile_module`.
    """
    return ModuleLowering(prepare(module, target), target).text()


def optimised_ir(module: Module, target: Target = V3) -> str:
    """The module as LLVM text after optimisation, for debugging.

    :raises CompileError: as :func:`compile_module`.
    """
    from osmia.compiler.codegen.llvm import llvm

    return llvm().compile(llvm_ir(module, target), target, keep_text=True)[1]


def compile_module(module: Module, target: Target = V3) -> bytes:
    """An ELF object of all programs, functions, maps and globals of a module.

    :raises CompileError: what legality refuses; IR013, a call chain needs more than 512 bytes of stack; IR017, a tail
        call would lose large locals; IR023, a function is too large; IR024, locals are too large even for scratch
        memory; IR090, llvmlite is missing or unknown.
    """
    from osmia.compiler.codegen.stack import excess, refusal

    legality.check(module, target)
    module = prune(module)
    heavy = weight(module) > SURELY_SMALL
    previous: Module | None = None
    for budget in BUDGETS:
        placed = _placed(module, target, budget)
        if previous is not None and placed is module:
            continue
        if heavy and target.cpu != "v4":
            # Jumps that are too far end the process in v3. In v4 they do not, so v4 code tells whether there are any.
            _check_size(module, _generate(placed, V4)[1])
        blob, functions = _generate(placed, target)
        _check_size(module, functions)
        found = excess(functions)
        if found is None:
            return blob
        previous = placed
    assert found is not None
    raise refusal(module, found, functions)


def _generate(module: Module, target: Target) -> tuple[bytes, dict[str, Code]]:
    from osmia.compiler.codegen.llvm import llvm
    from osmia.compiler.codegen.stack import measure

    lowering = ModuleLowering(module, target)
    blob, _ = llvm().compile(lowering.text(), target)
    return lowering.kernel_types.clean(blob), measure(blob)


def _check_size(module: Module, functions: dict[str, Code]) -> None:
    for code in functions.values():
        if code.size > MOST_INSNS:
            function = module.functions.get(code.name)
            raise CompileError(
                "IR023", f"{code.name} has {code.size} instructions, {MOST_INSNS} is the most",
                span=function.span if function else None,
                hint="move parts into functions that are called rather than inlined, or into loops",
            )  # fmt: skip


MOST_WEIGHT = 400_000


def weight(module: Module) -> int:
    """How much code a module can become at most before LLVM optimises, in rough instructions.

    :raises CompileError: IR023 when inlining makes it larger than anything that could be loaded.
    """
    known: dict[str, int] = {}

    def of(name: str) -> int:
        total = known.get(name)
        if total is None:
            total = 0
            for op in module.functions[name].ops():
                size = op.attrs.get("size", 0) if op.name in ("copy", "zero", "memeq", "streq") else 0
                total += 2 + (min(size, 2048) // (1 if op.name == "streq" else 4))
                if op.name == "call" and module.functions[op.attrs["function"]].kind == "inline":
                    total += of(op.attrs["function"])
            known[name] = total
            if total > MOST_WEIGHT:
                function = module.functions[name]
                raise CompileError(
                    "IR023", f"{name} grows beyond {MOST_WEIGHT} operations with everything that is inlined into it",
                    span=function.span, hint="let some functions be called rather than inlined",
                )  # fmt: skip
        return total

    return sum(of(name) for name in module.functions)
