"""What instructions read and write, and what a whole program needs to run."""

from __future__ import annotations

from osmia.isa.check import check_instruction
from osmia.isa.instruction import Instruction
from osmia.isa.table import Row, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class MemoryAccess:
    """A memory operand.

    :ivar base: the register with the address. :ivar offset: bytes added to it. :ivar size: bytes accessed.
    :ivar reads: whether memory is read. :ivar writes: whether memory is written.
    """

    __slots__ = ("base", "offset", "reads", "size", "writes")

    def __init__(self, base: int, offset: int, size: int, reads: bool, writes: bool) -> None:
        self.base = base
        self.offset = offset
        self.size = size
        self.reads = reads
        self.writes = writes

    def __repr__(self) -> str:
        how = "".join(letter for letter, yes in (("r", self.reads), ("w", self.writes)) if yes)
        return f"<MemoryAccess {how} {self.size} bytes at r{self.base}{self.offset:+d}>"


class Effects:
    """The effects of one instruction.

    :ivar row: its row. :ivar reads: registers whose value matters; for calls, those that may carry arguments.
    :ivar writes: registers that get a defined value. :ivar clobbers: registers that lose theirs.
    :ivar memory: the memory operand, ``None`` where there is none (packet loads read the packet, not memory).
    """

    __slots__ = ("clobbers", "memory", "reads", "row", "writes")

    def __init__(
        self,
        row: Row,
        reads: frozenset[int],
        writes: frozenset[int],
        clobbers: frozenset[int],
        memory: MemoryAccess | None,
    ) -> None:
        self.row = row
        self.reads = reads
        self.writes = writes
        self.clobbers = clobbers
        self.memory = memory


def effects(insn: Instruction) -> Effects:
    """The registers and the memory that an instruction reads and writes.

    :raises InstructionError: for what is no instruction, see ``check_instruction``.
    """
    row = check_instruction(insn)
    reads, writes = set(row.reads), set(row.writes)
    for access, register in ((row.dst, insn.dst), (row.src, insn.src)):
        if isinstance(access, str):
            if "r" in access:
                reads.add(register)
            if "w" in access:
                writes.add(register)
    clobbers = frozenset(row.clobbers) - writes
    return Effects(row, frozenset(reads), frozenset(writes), clobbers, _memory(insn, row))


def _memory(insn: Instruction, row: Row) -> MemoryAccess | None:
    if row.off != "memory":
        return None
    if row.operation in ("load", "load_acquire"):
        return MemoryAccess(insn.src, insn.off, row.size, reads=True, writes=False)
    only_writes = row.operation in ("store", "store_release")
    return MemoryAccess(insn.dst, insn.off, row.size, reads=not only_writes, writes=True)


class Requirements:
    """What a program needs.

    :ivar cpu: the lowest LLVM cpu version (1 to 4) that has all its instructions.
    :ivar kernel: the first kernel release that takes all of them, ``None`` when none does.
    :ivar groups: the conformance groups of RFC 9669 it uses. :ivar extensions: names of rows outside of the RFC.
    :ivar cpu_row: the row that asks for ``cpu``. :ivar kernel_row: the row that asks for ``kernel``.
    """

    __slots__ = ("cpu", "cpu_row", "extensions", "groups", "kernel", "kernel_row")

    def __init__(self) -> None:
        self.cpu = 1
        self.kernel: tuple[int, int] | None = (3, 18)
        self.groups: set[str] = set()
        self.extensions: set[str] = set()
        self.cpu_row: Row | None = None
        self.kernel_row: Row | None = None

    def __repr__(self) -> str:
        return f"<Requirements cpu v{self.cpu}, kernel {version_text(self.kernel)}, {' '.join(sorted(self.groups))}>"


def requirements(program: Iterable[Instruction]) -> Requirements:
    """The lowest cpu version and kernel release for a program, judging by its instructions alone.

    :raises InstructionError: for what is no instruction.
    """
    need = Requirements()
    for index, insn in enumerate(program):
        row = check_instruction(insn, index)
        if row.cpu > need.cpu:
            need.cpu, need.cpu_row = row.cpu, row
        if need.kernel is not None and (row.kernel is None or row.kernel > need.kernel):
            need.kernel, need.kernel_row = row.kernel, row
        if row.group:
            need.groups.add(row.group)
        else:
            need.extensions.add(row.name)
    return need
