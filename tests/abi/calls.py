"""Programs that call a helper with arguments made after its signature."""

from __future__ import annotations

from bpfsys import EXIT, call, insn

ZERO_WORDS = 24
MAKEABLE = {
    "ARG_PTR_TO_CTX", "ARG_CONST_MAP_PTR", "ARG_PTR_TO_MAP_KEY", "ARG_PTR_TO_MAP_VALUE", "ARG_PTR_TO_MEM",
    "ARG_CONST_SIZE",
    "ARG_CONST_SIZE_OR_ZERO", "ARG_ANYTHING", "ARG_PTR_TO_STACK", "ARG_CONST_ALLOC_SIZE_OR_ZERO",
}  # fmt: skip


def makeable(signature) -> bool:
    """Whether all arguments can be made of a stack, a map, the context and numbers."""
    return all(arg.kind in MAKEABLE or arg.nullable for arg in signature.args)


def program(helper, signature, map_fd: int, returns: int) -> bytes:
    """Zeroed stack, arguments, call, constant result."""
    code = insn(0xBF, 6, 1)  # r6 = r1
    code += insn(0xB7, 0, imm=0)
    code += b"".join(insn(0x7B, 10, 0, -8 * (1 + word)) for word in range(ZERO_WORDS))
    for register, arg in enumerate(signature.args, 1):
        if arg.kind == "ARG_PTR_TO_CTX":
            code += insn(0xBF, register, 6)
        elif arg.kind == "ARG_CONST_MAP_PTR":
            code += insn(0x18, register, 1, imm=map_fd) + insn(0)
        elif arg.kind in ("ARG_CONST_SIZE", "ARG_CONST_SIZE_OR_ZERO", "ARG_CONST_ALLOC_SIZE_OR_ZERO"):
            code += insn(0xB7, register, imm=SIZES.get(helper.name, 16))
        elif arg.kind in MAKEABLE and arg.kind != "ARG_ANYTHING":
            code += insn(0xBF, register, 10) + insn(0x07, register, imm=-8 * ZERO_WORDS)
        else:
            code += insn(0xB7, register, imm=0)
    return code + call(helper.number) + insn(0xB7, 0, imm=returns) + EXIT


SIZES = {"fib_lookup": 64, "check_mtu": 16, "perf_event_read_value": 24, "perf_prog_read_value": 24}
