"""Linking: from functions in sections to programs, each one run of instructions.

An object keeps every subprogram once; the kernel wants each program with a copy of all functions it calls. Functions
are analysed once (what each relocation means, who is called) and then placed into every program that reaches them, the
entry first and the others in the order in which they are first called.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from struct import Struct as Packer

from osmia.btf.types import DeclTag
from osmia.object.elf_file import SHN_COMMON, SHN_LORESERVE, STB_LOCAL, STT_FUNC
from osmia.object.sections import parse_section
from osmia.object.spec import CoreReloc, LineInfo, ProgramSpec, Reloc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.ext import BtfExt
    from osmia.btf.reader import Btf
    from osmia.object.elf_data import Extern
    from osmia.object.elf_file import ElfFile, Relocation, Section, Symbol
    from osmia.object.elf_maps import MapPlaces
    from osmia.object.spec import CollectionSpec

SLOT = 8
LD_IMM64, CALL, CALL_KIND = 0x18, 0x85, 0x07
PSEUDO_CALL, PSEUDO_KFUNC = 1, 2
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_BTF_ID, PSEUDO_FUNC = 1, 2, 3, 4
MAX_SLOTS = 1 << 23
"""Most instruction slots of all programs of an object together, subprograms counted each time (64 MiB)."""

_INSN = Packer("<BBhi")
_S32 = Packer("<i")
_U32 = Packer("<I")
_EXCEPTION_TAG = "exception_callback:"


class Function:
    """A function of the object.

    :ivar code: its instructions; references are in the form that specs use, calls still to be patched.
    :ivar calls: (slot, callee, kind) of calls and callback addresses. :ivar relocs: what an engine fills in, by slot.
    :ivar type_id: its ``Func`` in the BTF, 0 where the object does not say.
    """

    __slots__ = (
        "also", "calls", "code", "core", "count", "global_", "lines", "name", "relocs", "section", "start", "type_id",
    )  # fmt: skip

    def __init__(self, name: str, section: Section, start: int, count: int, global_: bool) -> None:
        self.name = name
        self.section = section
        self.start = start
        self.count = count
        self.global_ = global_
        self.code = bytearray(section.data[start * SLOT : (start + count) * SLOT])
        self.calls: list[tuple[int, Function, str]] = []
        self.relocs: list[Reloc] = []
        self.core: list[CoreReloc] = []
        self.lines: list[LineInfo] = []
        self.type_id = 0
        self.also: Function | None = None


class Linker:
    """All functions of an object, and the programs made of them.

    :ivar functions: by section index and first slot.
    """

    def __init__(
        self,
        elf: ElfFile,
        btf: Btf | None,
        ext: BtfExt | None,
        places: MapPlaces,
        externs: dict[str, Extern],
        spec: CollectionSpec,
    ) -> None:
        self.elf = elf
        self.btf = btf
        self.ext = ext
        self.places = places
        self.externs = externs
        self.spec = spec
        self.functions: dict[tuple[int, int], Function] = {}
        self.names: dict[int, list[tuple[Symbol, Function]]] = {}
        self.slots = 0
        symbols: dict[int, list[Symbol]] = {}
        for symbol in elf.symbols:
            if symbol.type == STT_FUNC:
                symbols.setdefault(symbol.section, []).append(symbol)
        code = [section for section in elf.sections[1:] if section.executable and section.data]
        for section in code:
            self._cut(section, symbols.get(section.index, []))
        for section in code:
            self._analyse(section)
        self._exceptions()

    # -- functions -------------------------------------------------------------------------------------------------

    def _cut(self, section: Section, found: list[Symbol]) -> None:
        """Cut a section into functions, by its function symbols."""
        if section.size % SLOT:
            raise self.elf.error("OBJ008", f"section {section.name!r} has {section.size} bytes, no multiple of 8")
        if not found:
            raise self.elf.error(
                "OBJ008", f"section {section.name!r} holds instructions but no function symbol", "do not strip symbols"
            )
        # The first of several names of one place is the function's name; global ones come first.
        found.sort(key=lambda s: (s.value, s.binding == STB_LOCAL, -s.size))
        starts = sorted({s.value for s in found} | {section.size})
        entries = self.names.setdefault(section.index, [])
        reached = 0
        for symbol in found:
            start, odd = divmod(symbol.value, SLOT)
            same = self.functions.get((section.index, start))
            size = symbol.size
            if not size and symbol.value < section.size:
                size = starts[bisect_right(starts, symbol.value)] - symbol.value
            if same is not None and not odd and size // SLOT == same.count:
                entries.append((symbol, same))
                continue
            if odd or size % SLOT or not size or symbol.value + size > section.size or start < reached:
                raise self.elf.error(
                    "OBJ008",
                    f"function {symbol.name!r} spans bytes {symbol.value} to {symbol.value + size} of section "
                    f"{section.name!r}; functions lie side by side on multiples of 8, within {section.size} bytes",
                )
            made = Function(symbol.name, section, start, size // SLOT, symbol.binding != STB_LOCAL)
            reached = start + made.count
            self.functions[section.index, start] = made
            entries.append((symbol, made))

    def _analyse(self, section: Section) -> None:
        relocations = self.elf.relocations(section)
        by_slot: dict[int, Relocation] = {}
        for relocation in relocations:
            slot, odd = divmod(relocation.offset, SLOT)
            if odd or slot in by_slot:
                raise self.elf.error(
                    "OBJ006", f"byte {relocation.offset} of {section.name!r} is no instruction, or is patched twice"
                )
            by_slot[slot] = relocation
        functions = list(dict.fromkeys(made for _, made in self.names[section.index]))
        for made in functions:
            self._scan(made, by_slot)
        if by_slot:
            slot, relocation = next(iter(by_slot.items()))
            raise self.elf.error(
                "OBJ006",
                f"slot {slot} of {section.name!r} is patched with {relocation.symbol.name or 'a section'!r}, "
                "and is no instruction of any function",
            )
        self._attach_info(section, functions)

    def _scan(self, made: Function, by_slot: dict[int, Relocation]) -> None:
        """Walk the instructions: resolve relocations and calls within the section."""
        opcodes = made.code[::SLOT]
        slot, count = 0, made.count
        while slot < count:
            opcode = opcodes[slot]
            relocation = by_slot.pop(made.start + slot, None) if by_slot else None
            if opcode == LD_IMM64:
                if slot + 1 >= count:
                    raise self.elf.error("OBJ008", f"function {made.name!r} ends within a wide load")
                self._load(made, slot, relocation)
                slot += 2
                continue
            if opcode == CALL:
                self._call(made, slot, relocation)
            elif relocation is not None:
                raise self.elf.error(
                    "OBJ006",
                    f"the instruction at slot {slot} of {made.name!r} (opcode {opcode:#04x}) is patched with "
                    f"{relocation.symbol.name or 'a section'!r}; only calls and wide loads are",
                )
            slot += 1

    def _callee(self, made: Function, slot: int, section: int, byte: int) -> Function:
        start, odd = divmod(byte, SLOT)
        found = None if odd else self.functions.get((section, start))
        if found is None:
            where = self.elf.sections[section].name
            raise self.elf.error(
                "OBJ009", f"slot {slot} of {made.name!r} refers to byte {byte} of {where!r}, where no function starts"
            )
        return found

    def _call(self, made: Function, slot: int, relocation: Relocation | None) -> None:
        _, registers, _, imm = _INSN.unpack_from(made.code, slot * SLOT)
        source = registers >> 4
        if relocation is None:
            if source == PSEUDO_CALL:
                byte = (made.start + slot + 1 + imm) * SLOT
                made.calls.append((slot, self._callee(made, slot, made.section.index, byte), "call"))
            return
        symbol = relocation.symbol
        if not symbol.section:
            extern = self._extern(made, slot, symbol)
            if extern.kind != "kfunc":
                raise self.elf.error("OBJ010", f"{made.name!r} calls {symbol.name!r}, which is no function")
            _INSN.pack_into(made.code, slot * SLOT, CALL, PSEUDO_KFUNC << 4, 0, 0)
            made.relocs.append(Reloc(slot, "kfunc", extern.name, extern.type_id, extern.weak))
            return
        target = self._section_of(made, slot, symbol)
        if source != PSEUDO_CALL or not target.executable:
            raise self.elf.error(
                "OBJ006", f"the call at slot {slot} of {made.name!r} is patched with {symbol.name or target.name!r}"
            )
        byte = symbol.value + (imm + 1) * SLOT
        made.calls.append((slot, self._callee(made, slot, target.index, byte), "call"))

    def _load(self, made: Function, slot: int, relocation: Relocation | None) -> None:
        at = slot * SLOT
        _, registers, _, low = _INSN.unpack_from(made.code, at)
        source = registers >> 4
        if relocation is None:
            if source == PSEUDO_FUNC:
                byte = (made.start + slot + 1 + low) * SLOT
                made.calls.append((slot, self._callee(made, slot, made.section.index, byte), "func"))
            elif source in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
                raise self.elf.error("OBJ011", f"slot {slot} of {made.name!r} loads a map, and does not say which")
            return
        (high,) = _S32.unpack_from(made.code, at + 12)
        addend = (low & 0xFFFFFFFF) | high << 32 if high else low
        symbol = relocation.symbol
        if not symbol.section:
            self._load_extern(made, slot, self._extern(made, slot, symbol), addend)
            return
        target = self._section_of(made, slot, symbol)
        value = symbol.value + addend
        if target.executable:
            made.calls.append((slot, self._callee(made, slot, target.index, value), "func"))
            return
        if self.places.section is not None and target.index == self.places.section.index:
            name = self.places.by_offset.get(value)
            if name is None:
                raise self.elf.error("OBJ011", f"slot {slot} of {made.name!r} refers to byte {value} within a map")
            self._set_wide(made, slot, PSEUDO_MAP_FD, 0, 0)
            made.relocs.append(Reloc(slot, "map", name))
        elif (data := self.spec.maps.get(target.name)) is not None and data.section == target.name:
            if not 0 <= value <= target.size:
                raise self.elf.error(
                    "OBJ011",
                    f"slot {slot} of {made.name!r} refers to byte {value} of {target.name!r}, which has {target.size}",
                )
            self._set_wide(made, slot, PSEUDO_MAP_VALUE, 0, value)
            made.relocs.append(Reloc(slot, "map_value", target.name, value))
        else:
            raise self.elf.error(
                "OBJ011",
                f"slot {slot} of {made.name!r} refers to {symbol.name or target.name!r} in section {target.name!r}, "
                "which is neither maps nor global data",
                "global data lives in .data, .rodata, .bss and sections named like .data.x",
            )

    def _load_extern(self, made: Function, slot: int, extern: Extern, addend: int) -> None:
        if addend and extern.kind != "kconfig":
            raise self.elf.error(
                "OBJ006", f"slot {slot} of {made.name!r} refers to byte {addend} of {extern.name!r}; only 0 can be"
            )
        if extern.kind == "kconfig":
            self._set_wide(made, slot, PSEUDO_MAP_VALUE, 0, extern.offset + addend)
            made.relocs.append(Reloc(slot, "kconfig", extern.name, extern.offset + addend, extern.weak))
            return
        self._set_wide(made, slot, PSEUDO_BTF_ID if extern.type_id else 0, 0, 0)
        made.relocs.append(Reloc(slot, "ksym", extern.name, extern.type_id, extern.weak))

    @staticmethod
    def _set_wide(made: Function, slot: int, source: int, low: int, high: int) -> None:
        at = slot * SLOT
        made.code[at + 1] = made.code[at + 1] & 15 | source << 4
        _S32.pack_into(made.code, at + 4, low)
        _U32.pack_into(made.code, at + 12, high & 0xFFFFFFFF)

    def _section_of(self, made: Function, slot: int, symbol: Symbol) -> Section:
        if symbol.section >= SHN_LORESERVE:
            hint = "build with -fno-common" if symbol.section == SHN_COMMON else None
            raise self.elf.error(
                "OBJ010", f"slot {slot} of {made.name!r} refers to {symbol.name!r}, which is in no section", hint
            )
        return self.elf.sections[symbol.section]

    def _extern(self, made: Function, slot: int, symbol: Symbol) -> Extern:
        found = self.externs.get(symbol.name)
        if found is None or found.kind == "undefined":
            raise self.elf.error(
                "OBJ010",
                f"slot {slot} of {made.name!r} refers to {symbol.name!r}, which is not defined",
                "declare kernel functions and variables with __ksym, settings with __kconfig; join files with "
                "`bpftool gen object`",
            )
        return found

    # -- types, lines, CO-RE ---------------------------------------------------------------------------------------

    def _attach_info(self, section: Section, functions: list[Function]) -> None:
        ext = self.ext
        if ext is None:
            return
        lines = sorted(ext.line_info(section.name), key=lambda row: row.insn_off)
        core = sorted(ext.core_relocations(section.name), key=lambda row: row.insn_off)
        line_offsets = [row.insn_off for row in lines]
        core_offsets = [found.insn_off for found in core]
        types = {row.insn_off: row.type_id for row in ext.func_info(section.name)}
        for made in functions:
            start, end = made.start * SLOT, (made.start + made.count) * SLOT
            made.type_id = types.get(start, 0)
            for row in lines[bisect_left(line_offsets, start) : bisect_left(line_offsets, end)]:
                made.lines.append(LineInfo(row.insn_off // SLOT - made.start, row.file, row.text, row.line, row.col))
            for found in core[bisect_left(core_offsets, start) : bisect_left(core_offsets, end)]:
                slot = found.insn_off // SLOT - made.start
                made.core.append(CoreReloc(slot, found.type_id, found.access, found.kind))

    def _exceptions(self) -> None:
        """The callbacks for exceptions, which a declaration tag names: nobody calls them, and they must be there."""
        if self.btf is None:
            return
        tagged: dict[int, str] = {}
        for type_id in self.btf.ids_of_kind(DeclTag):
            tag = self.btf.by_id(type_id)
            if isinstance(tag, DeclTag) and tag.component == -1 and tag.name.startswith(_EXCEPTION_TAG):
                tagged[tag.type_id] = tag.name.removeprefix(_EXCEPTION_TAG)
        if not tagged:
            return
        by_name = {made.name: made for made in self.functions.values() if made.global_}
        for made in self.functions.values():
            name = tagged.get(made.type_id)
            if name is not None:
                if name not in by_name:
                    raise self.elf.error(
                        "OBJ009", f"{made.name!r} names {name!r} as its exception callback, which is missing"
                    )
                made.also = by_name[name]

    # -- programs --------------------------------------------------------------------------------------------------

    def entries(self) -> list[tuple[str, Function]]:
        """The functions that are programs: global ones outside of ``.text``, or in it when there are no others.

        In a section whose name says nothing, and in ``.text``, a function that others call is a subprogram only.
        """
        called = {callee for made in self.functions.values() for _, callee, _ in made.calls}
        entries: list[tuple[str, Function]] = []
        fallback: list[tuple[str, Function]] = []
        for index, rows in self.names.items():
            known = bool(parse_section(self.elf.sections[index].name).prog_type)
            for symbol, made in rows:
                if symbol.binding != STB_LOCAL and (known or made not in called):
                    (fallback if made.section.name == ".text" else entries).append((symbol.name, made))
        return entries or fallback

    def link(self, name: str, entry: Function) -> ProgramSpec:
        """One program: the entry and all functions that it reaches.

        :raises ObjectError: OBJ018, the programs of this file are too large together.
        """
        placed: dict[Function, int] = {}
        order: list[Function] = []
        size = 0
        for made in self._reached(entry):
            placed[made] = size
            order.append(made)
            size += made.count
        self.slots += size
        if self.slots > MAX_SLOTS:
            raise self.elf.error("OBJ018", f"the programs have more than {MAX_SLOTS} instructions together")
        code = bytearray().join([made.code for made in order])
        program = ProgramSpec(name, entry.section.name, 0, b"")
        for made in order:
            base = placed[made]
            program.functions.append((base, made.type_id, name if made is entry else made.name))
            for slot, callee, kind in made.calls:
                at = base + slot
                _S32.pack_into(code, at * SLOT + 4, placed[callee] - at - 1)
                if kind == "func":
                    code[at * SLOT + 1] = code[at * SLOT + 1] & 15 | PSEUDO_FUNC << 4
                    _S32.pack_into(code, at * SLOT + 12, 0)
                program.relocs.append(Reloc(at, kind, callee.name))
            program.relocs += [Reloc(base + r.insn, r.kind, r.name, r.addend, r.weak) for r in made.relocs]
            program.lines += [LineInfo(base + i.insn, i.file, i.text, i.line, i.column) for i in made.lines]
            program.core += [CoreReloc(base + c.insn, c.type_id, c.access, c.kind) for c in made.core]
        program.relocs.sort(key=lambda reloc: reloc.insn)
        program.insns = bytes(code)
        return program

    @staticmethod
    def _reached(entry: Function) -> list[Function]:
        order = {entry: None}
        queue = [entry]
        while queue:
            made = queue.pop(0)
            callees = [callee for _, callee, _ in made.calls]
            if made.also is not None:
                callees.append(made.also)
            for callee in callees:
                if callee not in order:
                    order[callee] = None
                    queue.append(callee)
        return list(order)
