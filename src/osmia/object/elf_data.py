"""Global data of an object: its data sections as maps, its variables with layouts, its externs.

Compilers leave sizes and offsets in the BTF of sections open; :func:`complete_sections` fills them in from the symbol
table, which is what the kernel wants to see as well.
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.btf.raw import parse_header
from osmia.btf.types import (
    LINKAGE_EXTERN,
    LINKAGE_GLOBAL,
    LINKAGE_STATIC,
    DataSec,
    Func,
    Modifier,
    SecEntry,
    Var,
)
from osmia.object.btf_layout import LayoutReader
from osmia.object.elf_file import SHF_ALLOC, SHT_NOBITS, SHT_PROGBITS, STB_LOCAL, STB_WEAK, STT_FUNC, STT_SECTION
from osmia.object.layout import U32
from osmia.object.spec import GlobalVar, MapSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.object.elf_file import ElfFile, Section, Symbol
    from osmia.object.spec import CollectionSpec

KCONFIG, KSYMS, MAPS = ".kconfig", ".ksyms", ".maps"
RDONLY_PROG, MMAPABLE = 1 << 7, 1 << 10
"""``BPF_F_RDONLY_PROG`` and ``BPF_F_MMAPABLE``."""

_WORD = Packer("<I")
_ENTRY = Packer("<III")
_FAMILIES = (".data", ".rodata", ".bss")
_MAX_SIZE = (1 << 32) - 1


class Extern:
    """Something the kernel supplies: ``kind`` is ``kfunc``, ``ksym`` or ``kconfig``.

    :ivar type_id: of the function, of the variable's type (0: untyped, only its address is known), of the setting's
        type.
    :ivar offset: of a kernel setting, in the value of the ``.kconfig`` map.
    """

    __slots__ = ("kind", "name", "offset", "type_id", "weak")

    def __init__(self, name: str, kind: str, type_id: int, weak: bool, offset: int = 0) -> None:
        self.name = name
        self.kind = kind
        self.type_id = type_id
        self.weak = weak
        self.offset = offset


class Sections:
    """The BTF's sections after completion.

    :ivar btf: the object's types as compiled. :ivar blob: the BTF with sizes, offsets and linkage filled in.
    :ivar by_name: the completed sections. :ivar ids: their type ids. :ivar layouts: makes the layouts of types.
    """

    __slots__ = ("blob", "btf", "by_name", "ids", "layouts")

    def __init__(self, btf: Btf | None, blob: bytes) -> None:
        self.btf = btf
        self.blob = blob
        self.by_name: dict[str, DataSec] = {}
        self.ids: dict[str, int] = {}
        self.layouts = LayoutReader(btf) if btf is not None else None


def is_data(section: Section) -> bool:
    """Whether a section holds global variables: ``.data``, ``.rodata``, ``.bss`` and those with a suffix."""
    if section.type not in (SHT_PROGBITS, SHT_NOBITS) or not section.flags & SHF_ALLOC or section.executable:
        return False
    return any(section.name == family or section.name.startswith(family + ".") for family in _FAMILIES)


def complete_sections(elf: ElfFile, btf: Btf | None) -> Sections:
    """Fill in what compilers leave open in the BTF: sizes, offsets and order of sections' variables.

    Functions of hidden visibility become static, as libbpf does: the verifier then checks them in their callers'
    context.

    :raises ObjectError: OBJ017, the BTF's sections do not fit the file's.
    """
    if btf is None:
        return Sections(None, b"")
    result = Sections(btf, b"")
    blob = bytearray(btf.raw)
    start = parse_header(btf.raw).type_start
    words = btf.starts
    places: dict[tuple[int, str], Symbol] = {}
    for symbol in elf.symbols:
        if symbol.type not in (STT_SECTION, STT_FUNC) and symbol.name:
            places.setdefault((symbol.section, symbol.name), symbol)
    for type_id in btf.ids_of_kind(DataSec):
        found = btf.by_id(type_id)
        if not isinstance(found, DataSec):
            continue
        if found.name in result.by_name:
            raise elf.error("OBJ017", f"the BTF has two sections named {found.name!r}")
        if found.name == KCONFIG:
            full = _lay_out_kconfig(elf, btf, found)
        elif found.name == KSYMS:
            full = found
        else:
            full = _completed(elf, btf, found, places)
        full.id = type_id
        result.by_name[found.name] = full
        result.ids[found.name] = type_id
        if full is not found:
            at = start + 4 * words[type_id - 1]
            _WORD.pack_into(blob, at + 8, full.size)
            for index, entry in enumerate(full.entries):
                _ENTRY.pack_into(blob, at + 12 + 12 * index, entry.type_id, entry.offset, entry.size)
    _hide_functions(elf, btf, blob, start)
    result.blob = bytes(blob)
    return result


def _completed(elf: ElfFile, btf: Btf, found: DataSec, places: dict[tuple[int, str], Symbol]) -> DataSec:
    section = elf.by_name(found.name)
    if section is None:
        raise elf.error("OBJ017", f"the BTF describes section {found.name!r}, which the file does not have")
    if not section.size or section.size > _MAX_SIZE:
        raise elf.error("OBJ017", f"section {found.name!r} of {section.size} bytes cannot hold its variables")
    entries = []
    for entry in found.entries:
        var = _variable(elf, btf, entry, found)
        symbol = places.get((section.index, var.name))
        offset = entry.offset if symbol is None else symbol.value
        # Static variables of several functions may share a name: the compiler's offset is then right.
        if symbol is not None and symbol.binding == STB_LOCAL and found.size:
            offset = entry.offset
        if offset + entry.size > section.size:
            raise elf.error(
                "OBJ017",
                f"variable {var.name!r} spans bytes {offset} to {offset + entry.size} of section {found.name!r}, "
                f"which has {section.size}",
            )
        entries.append(SecEntry(entry.type_id, offset, entry.size))
    entries.sort(key=lambda entry: entry.offset)
    return DataSec(found.name, section.size, entries)


def _variable(elf: ElfFile, btf: Btf, entry: SecEntry, found: DataSec) -> Var:
    var = btf.by_id(entry.type_id)
    if not isinstance(var, Var):
        raise elf.error("OBJ017", f"section {found.name!r} of the BTF lists type #{entry.type_id}, no variable")
    return var


def _lay_out_kconfig(elf: ElfFile, btf: Btf, found: DataSec) -> DataSec:
    """Give each kernel setting a place, the largest alignment first."""
    sized = []
    for entry in found.entries:
        var = _variable(elf, btf, entry, found)
        size, align = btf.sizeof(var), max(btf.alignof(var), 1)
        sized.append((-align, -size, var.name, entry.type_id))
    entries, offset = [], 0
    for align, size, _, type_id in sorted(sized):
        offset = -(-offset // -align) * -align
        entries.append(SecEntry(type_id, offset, -size))
        offset -= size
    if offset > _MAX_SIZE:
        raise elf.error("OBJ017", "the kernel settings take 4 GiB or more")
    return DataSec(found.name, offset, entries)


def _hide_functions(elf: ElfFile, btf: Btf, blob: bytearray, start: int) -> None:
    hidden = {symbol.name for symbol in elf.symbols if symbol.type == STT_FUNC and symbol.visibility in (1, 2)}
    for name in sorted(hidden):
        for type_id in btf.ids_by_name(name, Func):
            found = btf.by_id(type_id)
            if isinstance(found, Func) and found.linkage == LINKAGE_GLOBAL:
                at = start + 4 * btf.starts[type_id - 1] + 4
                (info,) = _WORD.unpack_from(blob, at)
                _WORD.pack_into(blob, at, info & ~0xFFFF | LINKAGE_STATIC)


def read_data(elf: ElfFile, sections: Sections, spec: CollectionSpec) -> None:
    """Add the maps behind the data sections, with their contents, and the variables in them.

    :raises ObjectError: OBJ016, data that only a linker could fill in; OBJ017, two maps of one name.
    """
    for section in elf.sections[1:]:
        if not is_data(section) or not section.size:
            continue
        name = section.name
        if name in spec.maps or section.size > _MAX_SIZE:
            raise elf.error("OBJ017", f"section {name!r} appears twice, or has 4 GiB or more")
        for relocation in elf.relocations(section):
            raise elf.error(
                "OBJ016",
                f"section {name!r} holds the address of {relocation.symbol.name or 'a section'!r} at byte "
                f"{relocation.offset}; global data cannot hold addresses",
                "keep text in arrays (char name[16]) instead of behind pointers, and switch with if instead of tables "
                "of functions",
            )
        constant = name == ".rodata" or name.startswith(".rodata.")
        spec.maps[name] = MapSpec(
            name, "array", key=U32, value_size=section.size, max_entries=1,
            flags=MMAPABLE | (RDONLY_PROG if constant else 0), frozen=constant, section=name,
            contents=[(bytes(4), section.data)] if section.type == SHT_PROGBITS else [],
            value_btf=sections.ids.get(name, 0),
        )  # fmt: skip
        datasec = sections.by_name.get(name)
        if datasec is not None:
            _add_variables(sections, datasec, spec)
    settings = sections.by_name.get(KCONFIG)
    if settings is not None and settings.size:
        spec.maps[KCONFIG] = MapSpec(
            KCONFIG, "array", key=U32, value_size=settings.size, max_entries=1, flags=MMAPABLE | RDONLY_PROG,
            frozen=True, section=KCONFIG, value_btf=settings.id, role="kconfig",
        )  # fmt: skip
        _add_variables(sections, settings, spec)


def _add_variables(sections: Sections, datasec: DataSec, spec: CollectionSpec) -> None:
    btf, layouts = sections.btf, sections.layouts
    if btf is None or layouts is None:
        return
    for entry in datasec.entries:
        var = btf.by_id(entry.type_id)
        if not isinstance(var, Var):
            continue
        name = var.name
        old = spec.global_vars.get(name)
        if old is not None:
            # Static variables of one name in several functions or files: all of them stay reachable.
            name = f"{datasec.name}:{name}:{entry.offset}"
        spec.global_vars[name] = GlobalVar(name, datasec.name, entry.offset, layouts.read(var.type_id))


def read_externs(elf: ElfFile, sections: Sections) -> dict[str, Extern]:
    """What the kernel must supply, by name."""
    btf = sections.btf
    found: dict[str, Extern] = {}
    if btf is None:
        return found
    weak = {symbol.name for symbol in elf.symbols if not symbol.section and symbol.binding == STB_WEAK}
    for section in (KCONFIG, KSYMS):
        datasec = sections.by_name.get(section)
        for entry in datasec.entries if datasec else ():
            of = btf.by_id(entry.type_id)
            if isinstance(of, Func) and section == KSYMS:
                found[of.name] = Extern(of.name, "kfunc", entry.type_id, of.name in weak)
            elif isinstance(of, Var):
                kind = "kconfig" if section == KCONFIG else "ksym"
                type_id = of.type_id if section == KCONFIG or _is_typed(btf, of) else 0
                found[of.name] = Extern(of.name, kind, type_id, of.name in weak, entry.offset)
            else:
                raise elf.error("OBJ017", f"section {section!r} of the BTF lists type #{entry.type_id}, no extern")
    for type_id in btf.ids_of_kind(Func):
        of = btf.by_id(type_id)
        if isinstance(of, Func) and of.linkage == LINKAGE_EXTERN:
            found.setdefault(of.name, Extern(of.name, "undefined", type_id, of.name in weak))
    return found


def _is_typed(btf: Btf, var: Var) -> bool:
    """Whether a kernel symbol has a type of its own; ``extern const void name __ksym`` has none."""
    found = btf.by_id(var.type_id)
    for _ in range(32):
        if not isinstance(found, Modifier):
            break
        found = btf.by_id(found.type_id)
    return bool(found.id)
