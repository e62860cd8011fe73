"""Writing objects: a collection becomes an ELF file that libbpf, bpftool and :func:`osmia.object.elf.read_object` load.

Programs are taken apart again: entries go to the sections that say what they are, subprograms to ``.text``, each once.
What ELF and BTF cannot say (event schemas, hook options, initial entries of hash maps) goes to the section ``.osmia``;
other loaders do not see it.
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.btf.reader import Btf
from osmia.btf.types import (
    LINKAGE_EXTERN,
    LINKAGE_GLOBAL,
    LINKAGE_STATIC,
    Const,
    DataSec,
    Func,
    Int,
    SecEntry,
    Var,
)
from osmia.btf.writer import BtfBuilder
from osmia.diagnostics.errors import BtfError, ObjectError
from osmia.object.btf_layout import identifier, layout_to_btf
from osmia.object.elf_data import KCONFIG, KSYMS, MAPS
from osmia.object.elf_file import SHT_STRTAB, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_OBJECT
from osmia.object.elf_write import R_BPF_64_32, R_BPF_64_64, R_BPF_64_ABS64, ElfBuilder, add_section
from osmia.object.link import LD_IMM64, PSEUDO_CALL, SLOT
from osmia.object.map_btf import POINTER, define_map, static_values
from osmia.object.meta import META_SECTION, encode_meta, meta_of
from osmia.object.unlink import Part, take_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.object.elf_write import SectionBuilder, _Symbol
    from osmia.object.spec import CollectionSpec, MapSpec, Reloc

_S32 = Packer("<i")
_TEXT = ".text"
_MAX_FILL = 1 << 26
_OWN_SECTIONS = ("license", "version")


def attach_meta(file: bytes, meta: dict[str, Any]) -> bytes:
    """A copy of an object, such as LLVM makes it, with Osmia's notes in it; nothing else changes.

    :param meta: from :func:`osmia.object.meta.make_meta` or :func:`~osmia.object.meta.meta_of`.
    :raises ObjectError: the file is malformed, or the notes cannot be written.
    """
    return add_section(file, META_SECTION, encode_meta(meta), type=SHT_STRTAB)


def write_object(spec: CollectionSpec) -> bytes:
    """A collection as an object file.

    :raises ObjectError: OBJ023, the collection contradicts itself; OBJ021, something that cannot be written.
    """
    try:
        return _Writer(spec).write()
    except BtfError as error:
        raise ObjectError(error.code, error.message, hint=error.hint, notes=error.notes) from None


class _Writer:
    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self.btf = Btf.from_bytes(spec.btf) if spec.btf else None
        self.types = BtfBuilder.from_btf(self.btf) if self.btf is not None else BtfBuilder(byteorder="little")
        self.elf = ElfBuilder()
        self.maps: dict[str, _Symbol] = {}
        self.data: dict[str, _Symbol] = {}
        self.externs: dict[str, _Symbol] = {}
        self.parts: dict[Part, tuple[SectionBuilder, int, _Symbol]] = {}
        self.sections: dict[str, DataSec] = {}
        self.old: dict[str, DataSec] = {}
        if self.btf is not None:
            for section in self.btf.of_kind(DataSec):
                self.old[section.name] = section

    def write(self) -> bytes:
        spec = self.spec
        self.place_code()
        values = self.place_maps()
        for made in spec.maps.values():
            if made.section and made.section != KCONFIG:
                self.place_data(made)
        self.fill_code()
        self.place_externs()
        self.fill_values(values)
        self.place_license()
        self.replace_sections()
        self.write_types()
        notes = self.elf.section(META_SECTION, type=SHT_STRTAB)
        notes.data += encode_meta(meta_of(spec))
        return self.elf.to_bytes()

    # -- code ------------------------------------------------------------------------------------------------------

    def place_code(self) -> None:
        """Give every function a place: first all, so that they can refer to one another."""
        self.programs = take_apart(self.spec)
        sections: dict[str, SectionBuilder] = {_TEXT: self.elf.code(_TEXT)}
        names: set[str] = set()
        for parts in self.programs:
            entry = parts[0]
            program = self.spec.programs[entry.name]
            section = sections.get(program.section)
            if section is None:
                section = sections[program.section] = self.elf.code(program.section)
            if program.section == _TEXT or program.license != self.spec.license:
                raise ObjectError(
                    "OBJ023", f"program {program.name!r} lies in .text, or has a license other than the collection's"
                )
            names.add(entry.name)
            self.place(entry, section, True)
        for parts in self.programs:
            for part in parts[1:]:
                if part not in self.parts:
                    public = self.linkage(part) == LINKAGE_GLOBAL and part.name not in names
                    names.add(part.name)
                    self.place(part, sections[_TEXT], public)

    def place(self, part: Part, section: SectionBuilder, public: bool) -> None:
        start = len(section.data)
        section.data += part.code
        binding = STB_GLOBAL if public else STB_LOCAL
        symbol = self.elf.symbol(part.name, section, start, len(part.code), STT_FUNC, binding)
        self.parts[part] = (section, start, symbol)

    def linkage(self, part: Part) -> int:
        found = self.btf.by_id(part.type_id) if self.btf is not None and part.type_id else None
        return found.linkage if isinstance(found, Func) else LINKAGE_STATIC

    def fill_code(self) -> None:
        for part, (section, start, _) in self.parts.items():
            for slot, callee, kind in part.calls:
                self.refer(section, start + slot * SLOT, self.parts[callee], kind)
            for reloc in part.relocs:
                self.relocate(section, start + reloc.insn * SLOT, reloc)

    def refer(self, section: SectionBuilder, at: int, target: tuple[SectionBuilder, int, _Symbol], kind: str) -> None:
        """A call or a callback's address; static functions are named by their section and offset, as compilers do."""
        home, offset, symbol = target
        if symbol.binding == STB_LOCAL:
            symbol, byte = home.symbol, offset
        else:
            byte = 0
        if kind == "call":
            section.data[at + 1] = PSEUDO_CALL << 4
            _S32.pack_into(section.data, at + 4, byte // SLOT - 1)
            section.relocate(at, R_BPF_64_32, symbol)
        else:
            self.set_wide(section, at, byte)
            section.relocate(at, R_BPF_64_64, symbol)

    @staticmethod
    def set_wide(section: SectionBuilder, at: int, low: int) -> None:
        section.data[at + 1] &= 15
        _S32.pack_into(section.data, at + 4, low)
        _S32.pack_into(section.data, at + 12, 0)

    def relocate(self, section: SectionBuilder, at: int, reloc: Reloc) -> None:
        name = reloc.name
        if reloc.kind in ("map", "map_value"):
            symbol = (self.maps if reloc.kind == "map" else self.data).get(name)
            if symbol is None or not 0 <= reloc.addend < 1 << 31:
                raise ObjectError("OBJ023", f"a program refers to {name!r}, which is no map of the right kind")
            low = reloc.addend
        elif reloc.kind in ("ksym", "kconfig", "kfunc"):
            symbol, low = self.extern(reloc), 0
            if reloc.kind == "kconfig":
                low = self.kconfig_shift(reloc)
        else:
            raise ObjectError("OBJ023", f"relocation of {name!r} is of unknown kind {reloc.kind!r}")
        if reloc.kind == "kfunc":
            section.data[at + 1] = PSEUDO_CALL << 4
            _S32.pack_into(section.data, at + 4, -1)
            section.relocate(at, R_BPF_64_32, symbol)
            return
        if section.data[at] != LD_IMM64:
            raise ObjectError("OBJ023", f"the reference to {name!r} is on no wide load")
        self.set_wide(section, at, low)
        section.relocate(at, R_BPF_64_64, symbol)

    # -- externs ---------------------------------------------------------------------------------------------------

    def extern(self, reloc: Reloc) -> _Symbol:
        if reloc.kind == "kconfig":
            self.kconfig_shift(reloc)
        symbol = self.externs.get(reloc.name)
        if symbol is None:
            binding = STB_WEAK if reloc.weak else STB_GLOBAL
            symbol = self.externs[reloc.name] = self.elf.symbol(reloc.name, None, 0, 0, STT_NOTYPE, binding)
            home = KCONFIG if reloc.kind == "kconfig" else KSYMS
            self.declare_extern(home, reloc)
        return symbol

    def kconfig_shift(self, reloc: Reloc) -> int:
        var = self.spec.global_vars.get(reloc.name)
        if var is None or var.map_name != KCONFIG or not 0 <= reloc.addend - var.offset <= var.layout.size:
            raise ObjectError("OBJ023", f"kernel setting {reloc.name!r} has no variable in {KCONFIG}")
        return reloc.addend - var.offset

    def declare_extern(self, home: str, reloc: Reloc) -> None:
        """Make sure that the BTF lists an extern; what it must be told is in the relocation."""
        section = self.sections.get(home) or self.old.get(home) or DataSec(home, 0)
        names = {self.types.get(entry.type_id).name for entry in section.entries}
        if reloc.name not in names:
            if reloc.kind == "kfunc":
                found = self.types.get(reloc.addend) if reloc.addend else None
                if not isinstance(found, Func) or found.linkage != LINKAGE_EXTERN or found.name != reloc.name:
                    raise ObjectError("OBJ023", f"kernel function {reloc.name!r} has no prototype in the BTF")
                type_id = reloc.addend
            elif reloc.kind == "ksym":
                target = reloc.addend or self.types.add(Const(0))
                type_id = self.types.add(Var(reloc.name, target, LINKAGE_EXTERN))
            else:
                layout = self.spec.global_vars[reloc.name].layout
                type_id = self.types.add(Var(reloc.name, layout_to_btf(self.types, layout), LINKAGE_EXTERN))
            section = DataSec(home, section.size, [*section.entries, SecEntry(type_id, 0, 0)])
        self.sections[home] = section

    def place_externs(self) -> None:
        """Kernel settings lie where the map ``.kconfig`` has them."""
        for home in (KCONFIG, KSYMS):
            section = self.sections.get(home) or self.old.get(home)
            if section is None:
                continue
            entries = []
            for entry in section.entries:
                var = self.types.get(entry.type_id)
                known = self.spec.global_vars.get(var.name) if home == KCONFIG else None
                size = known.layout.size if known else entry.size
                entries.append(SecEntry(entry.type_id, known.offset if known else entry.offset, size))
                if var.name not in self.externs:
                    weak = var.name in self.spec.extras.get("kconfig_weak", ())
                    binding = STB_WEAK if weak else STB_GLOBAL
                    self.externs[var.name] = self.elf.symbol(var.name, None, 0, 0, STT_NOTYPE, binding)
            entries.sort(key=lambda entry: entry.offset)
            size = self.spec.maps[KCONFIG].value_size if home == KCONFIG and KCONFIG in self.spec.maps else section.size
            self.sections[home] = DataSec(home, size, entries)

    # -- maps and data ---------------------------------------------------------------------------------------------

    def place_maps(self) -> list[tuple[MapSpec, int]]:
        """Define the maps; returns those with static values and where these start."""
        plain = [made for made in self.spec.maps.values() if not made.section]
        if not plain:
            return []
        variables: dict[str, Var] = {}
        old = self.old.get(MAPS)
        for entry in old.entries if old else ():
            found = self.btf.by_id(entry.type_id) if self.btf is not None else None
            if isinstance(found, Var):
                variables[found.name] = found
        section = self.elf.variables(MAPS)
        entries, values = [], []
        for made in plain:
            type_id, size, place = define_map(self.types, self.btf, made, variables.get(made.name))
            section.data += bytes(-len(section.data) % POINTER)
            start = len(section.data)
            section.data += bytes(size)
            entries.append(SecEntry(type_id, start, size))
            self.maps[made.name] = self.elf.symbol(made.name, section, start, size, STT_OBJECT)
            if place >= 0:
                values.append((made, start + place))
        self.sections[MAPS] = DataSec(MAPS, len(section.data), entries)
        self.maps_section = section
        return values

    def fill_values(self, places: list[tuple[MapSpec, int]]) -> None:
        entries = {parts[0].name: self.parts[parts[0]][2] for parts in self.programs}
        for made, start in places:
            table = entries if made.kind == "prog_array" else self.maps
            for index, name in static_values(made):
                symbol = table.get(name)
                if symbol is None:
                    raise ObjectError("OBJ023", f"map {made.name!r} is to hold {name!r}, which the collection lacks")
                self.maps_section.relocate(start + POINTER * index, R_BPF_64_ABS64, symbol)

    def place_data(self, made: MapSpec) -> None:
        """A data section, and the BTF that says which variables are in it."""
        name = made.section
        data = made.contents[0][1] if made.contents else b""
        if isinstance(data, str) or len(data) > made.value_size or not made.value_size:
            raise ObjectError("OBJ023", f"section {name!r} has contents that are not its {made.value_size} bytes")
        zero = name == ".bss" or name.startswith(".bss.")
        if not zero and made.value_size - len(data) > _MAX_FILL:
            raise ObjectError("OBJ023", f"section {name!r} has {len(data)} of {made.value_size} bytes of contents")
        section = self.elf.variables(name, constant=made.frozen, zero=zero)
        section.size = made.value_size
        if not zero:
            section.data += data.ljust(made.value_size, b"\0")
        elif data.strip(b"\0"):
            raise ObjectError("OBJ023", f"section {name!r} is zero by definition, and its map has contents")
        self.data[made.name] = section.symbol
        found = self.old.get(name)
        if found is None or found.size != made.value_size:
            found = self.describe(made)
        if found is None:
            return
        self.sections[name] = found
        used: set[str] = set()
        for entry in found.entries:
            var = self.types.get(entry.type_id)
            public = isinstance(var, Var) and var.linkage == LINKAGE_GLOBAL and var.name not in used
            used.add(var.name)
            binding = STB_GLOBAL if public else STB_LOCAL
            self.elf.symbol(var.name, section, entry.offset, entry.size, STT_OBJECT, binding)

    def describe(self, made: MapSpec) -> DataSec | None:
        """The BTF of a section, from the layouts of its variables."""
        entries = []
        for var in self.spec.global_vars.values():
            if var.map_name == made.name:
                type_id = layout_to_btf(self.types, var.layout)
                found = self.types.add(Var(identifier(var.name), type_id, LINKAGE_GLOBAL))
                entries.append(SecEntry(found, var.offset, var.layout.size))
        if not entries:
            return None
        return DataSec(made.section, made.value_size, sorted(entries, key=lambda entry: entry.offset))

    # -- the rest --------------------------------------------------------------------------------------------------

    def place_license(self) -> None:
        contents = {}
        if self.spec.license:
            contents["license"] = self.spec.license.encode() + b"\0"
        version = self.spec.extras.get("kern_version")
        if version is not None:
            contents["version"] = int(version).to_bytes(4, "little")
        for name, data in contents.items():
            section = self.elf.variables(name)
            section.data += data
            old = self.old.get(name)
            if old is not None and len(old.entries) == 1 and old.size != len(data):
                only = old.entries[0]
                if only.size > len(data):
                    section.data += bytes(only.size - len(data))
                self.sections[name] = DataSec(name, len(section.data), [SecEntry(only.type_id, 0, only.size)])
            elif old is not None:
                self.sections[name] = old

    def replace_sections(self) -> None:
        """Put the sections as they are now into the BTF; those that are gone leave an unused integer behind."""
        for name, old in self.old.items():
            new = self.sections.get(name)
            if new is None:
                self.types.replace(old.id, Int("_unused", 4))
            elif new != old:
                self.types.replace(old.id, new)
        for name, new in self.sections.items():
            if name not in self.old:
                self.types.add(new)

    def write_types(self) -> None:
        from osmia.btf.ext import BtfExtBuilder

        ext = BtfExtBuilder(self.types)
        described = False
        for part, (section, start, _) in self.parts.items():
            if part.type_id:
                ext.add_func(section.name, start, part.type_id)
                described = True
            for line in part.lines:
                column = line.column
                ext.add_line(section.name, start + line.insn * SLOT, line.file, line.text, line.line, column)
                described = True
            for core in part.core:
                ext.add_relocation(section.name, start + core.insn * SLOT, core.type_id, core.access, core.kind)
                described = True
        extra = ext.to_bytes() if described else b""
        if self.types.end_id > 1:
            section = self.elf.section(".BTF", align=4)
            section.data += self.types.to_bytes()
        if extra:
            section = self.elf.section(".BTF.ext", align=4)
            section.data += extra
