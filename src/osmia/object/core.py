"""CO-RE relocation: fitting a collection to the types of a kernel.

A compiler records for every access to a kernel struct which type and field it means (``osmia.object.core_access``).
:func:`relocate` finds them in the target's BTF and patches offsets, sizes, shifts, ids and values into the code.
Only types with the wanted names are decoded, never the whole of the kernel's BTF.

What the target does not have is no error here: a program may ask first whether a field exists, and the verifier
removes what is never reached. In the place of such an instruction stands a call of helper :data:`POISON` (libbpf's
number), and ``extras["core_poisoned"]`` says what it was; :func:`poisoned` and :func:`poisoned_in_log` turn the
verifier's complaint into an explanation.
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.btf.ext import RELO_KINDS, RELO_TYPE_ID_LOCAL
from osmia.btf.reader import Btf, essential_name
from osmia.btf.types import AnyEnum, BtfType
from osmia.diagnostics.errors import BtfError, RelocationError
from osmia.diagnostics.span import Span
from osmia.object.core_access import Access, AccessError, match, parse_access
from osmia.object.core_value import Value, may_resize, value_of
from osmia.object.spec import CollectionSpec, ProgramSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from osmia.object.spec import CoreReloc

POISON = 0xBAD2310
"""The number of the helper, which does not exist, that an instruction calls in place of an access that cannot work."""

SLOT = 8
_INSN = Packer("<BBhi")
_POISONED = _INSN.pack(0x85, 0, 0, POISON)
_LD_IMM64 = 0x18
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_BYTES = {code: size for size, code in _SIZES.items()}
_CLASS_LD, _CLASS_LDX, _CLASS_ST, _CLASS_STX, _CLASS_ALU, _CLASS_ALU64 = 0, 1, 2, 3, 4, 7


class Answer:
    """What becomes of one relocation: the compiler's value, the target's, and whether they fit a load or store.

    :ivar missing: why the target has no such thing, empty when it has.
    """

    __slots__ = ("access", "missing", "ours", "theirs")

    def __init__(self, access: Access, ours: Value, theirs: Value, missing: str) -> None:
        self.access = access
        self.ours = ours
        self.theirs = theirs
        self.missing = missing


def relocate(spec: CollectionSpec, target: Btf, modules: Iterable[Btf] = ()) -> CollectionSpec:
    """A collection fitted to a kernel: a new one, with patched instructions and no CO-RE relocations.

    :param target: the kernel's BTF (``osmia.btf.kernel.kernel_btf``). :param modules: split BTFs on top of it, searched
        for types that the kernel itself does not have; not touched unless needed.
    :raises RelocationError: CORE001 (malformed), CORE002 (ambiguous), CORE003 (the value does not fit the instruction),
        CORE005 (no BTF). Malformed BTF comes with the BTF's own codes.
    """
    result = CollectionSpec(spec.name, spec.license)
    result.maps = dict(spec.maps)
    result.global_vars = dict(spec.global_vars)
    result.events = dict(spec.events)
    result.btf = spec.btf
    result.extras = dict(spec.extras)
    result.programs = dict(spec.programs)
    pending = [program for program in spec.programs.values() if program.core]
    if not pending:
        return result
    if not spec.btf:
        raise RelocationError(
            "CORE005",
            f"program {pending[0].name!r} has CO-RE relocations, and the collection has no BTF to explain them",
            hint="keep the .BTF section of the object",
        )
    engine = _Engine(Btf.from_bytes(spec.btf), target, modules)
    table = list(result.extras.get("core_poisoned", ()))
    for program in pending:
        result.programs[program.name] = engine.program(program)
    result.extras["core_poisoned"] = table + engine.poisoned
    if not result.extras["core_poisoned"]:
        del result.extras["core_poisoned"]
    return result


def poisoned(spec: CollectionSpec, program: str, slot: int, target: Btf | None = None) -> RelocationError | None:
    """The explanation of a poisoned instruction, ``None`` where slot ``slot`` of the program is none.

    :param target: the kernel's BTF, to name the nearest types or fields.
    """
    for name, at, wanted, missing, file, line, column in spec.extras.get("core_poisoned", ()):
        if name == program and at == slot:
            return RelocationError(
                "CORE004",
                f"{wanted}: {missing}",
                span=Span(file, line, max(column - 1, 0)) if file else None,
                hint=_nearest(wanted, target) if target is not None else _GUARD_HINT,
            )
    return None


def poisoned_in_log(spec: CollectionSpec, program: str, log: str, target: Btf | None = None) -> RelocationError | None:
    """The explanation of a verifier's refusal, ``None`` where no poisoned instruction is its cause.

    :param log: the verifier's log, whose last instruction is the refused one. :param target: as for :func:`poisoned`.
    """
    marker = f"call unknown#{POISON}"
    for line in reversed(log.splitlines()):
        number, colon, rest = line.partition(":")
        if colon and number.isdigit() and marker in rest:
            return poisoned(spec, program, int(number), target)
    return None


_GUARD_HINT = "ask first: bpf_core_field_exists, bpf_core_type_exists or bpf_core_enum_value_exists"


def _nearest(wanted: str, target: Btf) -> str:
    """What the target has instead: the nearest types, or the members of the type."""
    kind, _, path = wanted.partition(" ")
    root, _, fields = path.replace(" ", ".").partition(".")
    name = essential_name(root)
    try:
        found = [target.by_id(i) for i in target.candidates(name) if target.by_id(i).kind_name.startswith(kind)]
        if not found:
            near = target.nearest_names(name)
            return f"the nearest types are {', '.join(near)}" if near else _GUARD_HINT
        if isinstance(found[0], AnyEnum):
            from osmia.btf.nearest import nearest

            names = nearest(fields, [value.name.encode() for value in found[0].values], 3)
            return f"did you mean {', '.join(names)}?" if names else _GUARD_HINT
        target.find_member(found[0], fields)
    except BtfError as error:
        return error.hint or _GUARD_HINT
    return _GUARD_HINT


class _Engine:
    """Relocates the programs of one collection; answers are kept, since the same access occurs often."""

    def __init__(self, local: Btf, target: Btf, modules: Iterable[Btf]) -> None:
        self.local = local
        self.target = target
        self._module_source = modules
        self._modules: list[Btf] | None = None
        self.answers: dict[tuple[int, str, int], Answer] = {}
        self.found: dict[tuple[str, int], list[tuple[Btf, int]]] = {}
        self.poisoned: list[tuple[str, int, str, str, str, int, int]] = []

    def program(self, program: ProgramSpec) -> ProgramSpec:
        code = bytearray(program.insns)
        for reloc in program.core:
            try:
                if not 0 <= reloc.insn < len(code) // SLOT:
                    raise AccessError(f"the program has no slot {reloc.insn}")
                answer = self.answer(reloc)
                reason = answer.missing or _patch(code, reloc.insn, answer)
            except AccessError as error:
                raise self.error(program, reloc, "CORE001", str(error)) from None
            except BtfError as error:
                raise self.error(program, reloc, error.code, error.message, error.hint) from None
            except _Ambiguous as error:
                raise self.error(program, reloc, "CORE002", str(error), _AMBIGUOUS_HINT) from None
            except _Unfit as error:
                raise self.error(program, reloc, "CORE003", str(error), error.hint) from None
            if reason:
                self.poison(code, program, reloc, answer.access, reason)
        return ProgramSpec(
            program.name, program.section, program.prog_type, bytes(code), attach_type=program.attach_type,
            flags=program.flags, license=program.license, functions=program.functions, lines=program.lines,
            relocs=program.relocs, hook=program.hook,
        )  # fmt: skip

    def poison(self, code: bytearray, program: ProgramSpec, reloc: CoreReloc, access: Access, reason: str) -> None:
        at = reloc.insn * SLOT
        if code[at] == _LD_IMM64 and at + 2 * SLOT <= len(code):
            code[at + SLOT : at + 2 * SLOT] = _POISONED
        code[at : at + SLOT] = _POISONED
        place = _place(program, reloc)
        self.poisoned.append(
            (program.name, reloc.insn, access.text(), reason, place.file, place.line, place.column + 1)
        )

    def error(
        self, program: ProgramSpec, reloc: CoreReloc, code: str, message: str, hint: str | None = None
    ) -> RelocationError:
        kind = RELO_KINDS[reloc.kind][0] if 0 <= reloc.kind < len(RELO_KINDS) else f"kind {reloc.kind}"
        return RelocationError(
            code,
            f"{self.described(reloc)}: {message}",
            span=_place(program, reloc) if program.lines else None,
            hint=hint,
            notes=[(f"{kind} relocation at slot {reloc.insn} of program {program.name}", None)],
        )

    def described(self, reloc: CoreReloc) -> str:
        """The access as C would write it, or as far as it makes sense."""
        try:
            return parse_access(self.local, reloc.type_id, reloc.access, reloc.kind).text()
        except (AccessError, BtfError, ValueError, IndexError):
            return f"access {reloc.access!r} of type #{reloc.type_id}"

    def answer(self, reloc: CoreReloc) -> Answer:
        """What the target says to a relocation."""
        key = (reloc.type_id, reloc.access, reloc.kind)
        known = self.answers.get(key)
        if known is None:
            known = self.answers[key] = self.fresh(reloc)
        return known

    def fresh(self, reloc: CoreReloc) -> Answer:
        kind = reloc.kind
        if not 0 <= kind < len(RELO_KINDS):
            raise AccessError(f"relocation kind {kind} is not known")
        if not all(part.isascii() and part.isdigit() and len(part) < 11 for part in reloc.access.split(":")):
            raise AccessError(f"access string {reloc.access!r}")
        access = parse_access(self.local, reloc.type_id, reloc.access, kind)
        ours = value_of(access, kind)
        if kind == RELO_TYPE_ID_LOCAL:
            return Answer(access, ours, ours, "")
        candidates = self.candidates(access)
        first: tuple[Access, Value] | None = None
        for btf, type_id in candidates:
            found = match(access, btf, type_id, kind)
            if found is None:
                continue
            value = value_of(found, kind)
            if first is None:
                first = (found, value)
            elif found.bit_offset != first[0].bit_offset or value.number != first[1].number:
                raise _Ambiguous(
                    f"the target has several types of that name that differ in this: #{first[0].root} gives "
                    f"{first[1].number}, #{type_id} gives {value.number}"
                )
        if first is not None:
            return Answer(access, ours, first[1], "")
        theirs = value_of(None, kind)
        return Answer(access, ours, theirs, _why_missing(access, candidates) if theirs.number is None else "")

    def candidates(self, access: Access) -> list[tuple[Btf, int]]:
        """All types of the target that have the wanted name (flavors aside) and kind."""
        root = self.local.by_id(access.root)
        kind = AnyEnum if isinstance(root, AnyEnum) else type(root)
        key = (essential_name(root.name), kind.MASK)
        known = self.found.get(key)
        if known is None:
            known = self.found[key] = self.search(key[0], kind)
        return known

    def search(self, name: str, kind: type[BtfType]) -> list[tuple[Btf, int]]:
        found = [(self.target, type_id) for type_id in self.target.candidates(name, kind)]
        if not found:
            if self._modules is None:
                self._modules = list(self._module_source)
            for module in self._modules:
                own = module.base_end_id
                found += [(module, type_id) for type_id in module.candidates(name, kind) if type_id >= own]
        return found


_AMBIGUOUS_HINT = "declare the struct with more of its fields, so that only one of the target's types fits"


class _Ambiguous(Exception):
    """Several candidates disagree."""


class _Unfit(Exception):
    """The instruction cannot take the value."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def _why_missing(access: Access, candidates: list[tuple[Btf, int]]) -> str:
    root = access.btf.by_id(access.root)
    if not candidates:
        return f"the kernel has no {root.kind_name} {essential_name(root.name)}"
    if isinstance(root, AnyEnum) or not access.steps:
        return "the kernel's enum has no such value" if isinstance(root, AnyEnum) else "the kernel's type differs"
    return f"the kernel's {root.kind_name} {essential_name(root.name)} has no such field, or of another kind"


def _place(program: ProgramSpec, reloc: CoreReloc) -> Span:
    """The source line of an instruction."""
    found = None
    for line in program.lines:
        if line.insn > reloc.insn:
            break
        found = line
    return Span(found.file, found.line, max(found.column - 1, 0)) if found is not None else Span("")


def _patch(code: bytearray, slot: int, answer: Answer) -> str:
    """Put the target's value into an instruction; returns why it cannot be loaded or stored, empty when all is well.

    :raises _Unfit: the instruction is none that carries such a value, or the value does not fit.
    """
    at = slot * SLOT
    ours, theirs = answer.ours, answer.theirs
    old, new = ours.number or 0, theirs.number or 0
    opcode, registers, off, imm = _INSN.unpack_from(code, at)
    family = opcode & 7
    if family in (_CLASS_ALU, _CLASS_ALU64):
        if opcode & 8:
            raise _Unfit(f"the instruction at slot {slot} takes its operand from a register")
        _expect(ours, imm, _signed(old, 32), slot)
        if not -(1 << 31) <= new < 1 << 32:
            raise _Unfit(f"the value {new} does not fit the 32 bits of the instruction at slot {slot}")
        _INSN.pack_into(code, at, opcode, registers, off, _signed(new, 32))
    elif family in (_CLASS_LDX, _CLASS_ST, _CLASS_STX):
        _expect(ours, off, old, slot)
        if new > 0x7FFF:
            raise _Unfit(
                f"the offset {new} does not fit the 16 bits of a load or store",
                "take the field's address first, then read through it",
            )
        if ours.size != theirs.size and not may_resize(ours, theirs):
            return f"the field has {theirs.size} bytes in the kernel, the program reads or writes {ours.size}"
        if ours.size != theirs.size:
            opcode = _resized(opcode, ours.size, theirs.size, slot)
        _INSN.pack_into(code, at, opcode, registers, new, imm)
    elif opcode == _LD_IMM64:
        if registers >> 4 or at + 2 * SLOT > len(code) or code[at + SLOT]:
            raise _Unfit(f"the wide load at slot {slot} is incomplete, or refers to something else")
        high = _INSN.unpack_from(code, at + SLOT)[3]
        _expect(ours, (imm & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32, old % (1 << 64), slot)
        _INSN.pack_into(code, at, opcode, registers, off, _signed(new, 32))
        _INSN.pack_into(code, at + SLOT, 0, 0, 0, _signed(new >> 32, 32))
    else:
        raise _Unfit(f"the instruction at slot {slot} (opcode {opcode:#04x}) carries no value that could be patched")
    return ""


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _expect(ours: Value, found: int, expected: int, slot: int) -> None:
    if ours.exact and found != expected:
        raise _Unfit(
            f"the instruction at slot {slot} holds {found}, the program's types say {expected}",
            "code and type information of the object do not belong together; build it again",
        )


def _resized(opcode: int, ours: int, theirs: int, slot: int) -> int:
    """The opcode of the same load or store with the target's size."""
    if _BYTES[opcode & 0x18] != ours:
        raise _Unfit(
            f"the load or store at slot {slot} has {_BYTES[opcode & 0x18]} bytes, the field {ours}",
            "code and type information of the object do not belong together; build it again",
        )
    if theirs not in _SIZES:
        raise _Unfit(f"a field of {theirs} bytes cannot be loaded at once")
    return opcode & ~0x18 | _SIZES[theirs]
