"""Map definitions: the ``.maps`` section, whose BTF says what each map is.

A map is a variable of a struct type. What a member says hides in its type: a number is the length of an array that the
member points to, or the value of an enum's only name; a key or value type is what the member points to (libbpf's
``__uint``, ``__type``, ``__array``, ``__ulong``).
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.abi import map_types
from osmia.btf.layout import resolve
from osmia.btf.types import AnyEnum, Array, FuncProto, Ptr, Struct, Var
from osmia.diagnostics.errors import ObjectError
from osmia.object.btf_layout import LayoutReader
from osmia.object.elf_data import MAPS
from osmia.object.elf_file import STT_FUNC, STT_SECTION
from osmia.object.spec import MapSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import Member
    from osmia.object.elf_data import Sections
    from osmia.object.elf_file import ElfFile, Section, Symbol
    from osmia.object.spec import CollectionSpec

PIN_ROOT = "/sys/fs/bpf/"
_NUMBERS = {
    "max_entries": "max_entries", "map_flags": "flags", "numa_node": "numa_node", "map_extra": "extra",
}  # fmt: skip
_KNOWN = ("type", "key", "value", "key_size", "value_size", "values", "pinning", *_NUMBERS)
_INDEX = Packer("<I")
_POINTER = 8


class MapPlaces:
    """Where each map's definition lies in the ``.maps`` section.

    :ivar by_offset: map names. :ivar values: per map the offset of its ``values`` member, -1 for none, and the map's
        end.
    """

    __slots__ = ("by_offset", "section", "values")

    def __init__(self, section: Section | None) -> None:
        self.section = section
        self.by_offset: dict[int, str] = {}
        self.values: dict[str, tuple[int, int]] = {}


def read_maps(elf: ElfFile, sections: Sections, spec: CollectionSpec) -> MapPlaces:
    """Add the maps that the ``.maps`` section defines; their static values are read by :func:`read_values`.

    :raises ObjectError: OBJ012 (the ``maps`` section of old), OBJ013, OBJ014, OBJ017.
    """
    legacy = elf.by_name("maps")
    if legacy is not None and legacy.size:
        raise elf.error(
            "OBJ012",
            "the maps are defined the old way (struct bpf_map_def in section 'maps'), which libbpf 1.0 dropped",
            'define them with BTF: struct { __uint(type, BPF_MAP_TYPE_HASH); ... } name SEC(".maps");',
        )
    section = elf.by_name(MAPS)
    places = MapPlaces(section)
    if section is None or not section.size:
        return places
    btf, datasec = sections.btf, sections.by_name.get(MAPS)
    if btf is None or datasec is None:
        raise elf.error(
            "OBJ017", "the file has maps but no BTF that describes them", "build with -g, and do not strip .BTF"
        )
    for entry in datasec.entries:
        var = btf.by_id(entry.type_id)
        if not isinstance(var, Var) or entry.offset in places.by_offset or var.name in spec.maps:
            raise elf.error("OBJ017", f"type #{entry.type_id} in .maps is no variable, or defines a map a second time")
        if entry.offset + btf.sizeof(var) > section.size:
            raise elf.error("OBJ017", f"the definition of map {var.name!r} reaches past the end of .maps")
        try:
            made, values = map_definition(btf, var.type_id, var.name, sections.layouts)
        except ObjectError as error:
            raise elf.error(error.code, error.message, error.hint) from None
        spec.maps[var.name] = made
        places.by_offset[entry.offset] = var.name
        places.values[var.name] = (entry.offset + values if values >= 0 else -1, entry.offset + entry.size)
    return places


def map_definition(btf: Btf, type_id: int, name: str, layouts: LayoutReader | None = None) -> tuple[MapSpec, int]:
    """The map that a struct type defines, and the byte offset of its ``values`` member (-1: it has none).

    :raises ObjectError: OBJ013, OBJ014.
    """
    return _Definition(btf, name, layouts or LayoutReader(btf)).read(type_id, False)


class _Definition:
    """Reads one definition: member by member into a :class:`MapSpec`."""

    def __init__(self, btf: Btf, name: str, layouts: LayoutReader) -> None:
        self.btf = btf
        self.name = name
        self.layouts = layouts

    def bad(self, what: str, hint: str | None = None, code: str = "OBJ013") -> ObjectError:
        return ObjectError(code, f"map {self.name!r}: {what}", hint=hint)

    def read(self, type_id: int, inner: bool) -> tuple[MapSpec, int]:
        found = resolve(self.btf, type_id)
        if not isinstance(found, Struct):
            raise self.bad(f"its type is {found.kind_name}, not a struct", "define it with __uint, __type and friends")
        made = MapSpec(self.name, "")
        values = -1
        seen: set[str] = set()
        for member in found.members:
            if member.name not in _KNOWN or member.name in seen:
                raise self.bad(
                    f"unknown or repeated attribute {member.name!r}", f"known are {', '.join(_KNOWN)}", "OBJ014"
                )
            seen.add(member.name)
            if member.name == "values":
                if inner:
                    raise self.bad("an inner map holds maps itself", "the kernel allows one level", "OBJ014")
                values = member.bit_offset // 8
                self.values(made, member)
            else:
                self.attribute(made, member, inner)
        if not made.kind:
            raise self.bad("it has no type", "add __uint(type, BPF_MAP_TYPE_...)")
        if values >= 0 and made.inner is None and made.kind != "prog_array":
            raise self.bad(f"a {made.kind} map has no static values", None, "OBJ014")
        if made.inner is not None and made.kind not in ("array_of_maps", "hash_of_maps"):
            raise self.bad(f"a {made.kind} map holds no maps", None, "OBJ014")
        return made, values

    def attribute(self, made: MapSpec, member: Member, inner: bool) -> None:
        name = member.name
        if name in _NUMBERS:
            setattr(made, _NUMBERS[name], self.number(member))
        elif name == "type":
            number = self.number(member)
            row = map_types.TABLE.find(number)
            if row is None or not number:
                raise self.bad(f"there is no map type {number}", "the object is newer than this Osmia", "OBJ014")
            made.kind = row.name
        elif name == "pinning":
            number = self.number(member)
            if number > 1 or inner:
                raise self.bad(f"pinning {number}", "LIBBPF_PIN_NONE (0) and LIBBPF_PIN_BY_NAME (1) exist", "OBJ014")
            made.pin = PIN_ROOT + self.name if number else ""
        elif name in ("key_size", "value_size"):
            self.size(made, name, self.number(member))
        else:
            pointer = resolve(self.btf, member.type_id)
            if not isinstance(pointer, Ptr):
                raise self.bad(f"attribute {name!r} is {pointer.kind_name}, no pointer", f"write __type({name}, ...)")
            layout = self.layouts.read(pointer.type_id)
            setattr(made, name, layout)
            setattr(made, f"{name}_btf", pointer.type_id)
            self.size(made, f"{name}_size", layout.size)

    def size(self, made: MapSpec, attribute: str, size: int) -> None:
        known = getattr(made, attribute)
        if known and known != size:
            raise self.bad(f"{attribute} is {known} and {size} at once", "give the type alone, or the size alone")
        setattr(made, attribute, size)

    def number(self, member: Member) -> int:
        """The number that a member's type stands for."""
        found = resolve(self.btf, member.type_id)
        if isinstance(found, AnyEnum) and len(found.values) == 1:
            return found.values[0].value
        array = resolve(self.btf, found.type_id) if isinstance(found, Ptr) else None
        if not isinstance(array, Array):
            raise self.bad(f"attribute {member.name!r} holds no number", f"write __uint({member.name}, ...)")
        return array.count

    def values(self, made: MapSpec, member: Member) -> None:
        """``values``: an array of pointers to inner map definitions, or to programs."""
        array = resolve(self.btf, member.type_id)
        pointer = resolve(self.btf, array.type_id) if isinstance(array, Array) else None
        if not isinstance(pointer, Ptr) or not isinstance(array, Array):
            raise self.bad("attribute 'values' is no array of pointers", "write __array(values, ...)")
        self.size(made, "value_size", 4)
        target = resolve(self.btf, pointer.type_id)
        if isinstance(target, FuncProto):
            return
        if not isinstance(target, Struct):
            raise self.bad(f"attribute 'values' points to {target.kind_name}, neither map nor program")
        made.inner = _Definition(self.btf, f"{self.name}.inner", self.layouts).read(target.id, True)[0]


def read_values(elf: ElfFile, places: MapPlaces, spec: CollectionSpec, functions: dict[str, str]) -> None:
    """Add what relocations put in the ``values`` members: programs into prog arrays, maps into maps of maps.

    :param functions: the program names, by themselves.
    :raises ObjectError: OBJ015.
    """
    if places.section is None:
        return
    starts = sorted(places.by_offset)
    for relocation in elf.relocations(places.section):
        name = _owner(places, starts, relocation.offset)
        first, _ = places.values.get(name, (-1, 0))
        index, odd = divmod(relocation.offset - first, _POINTER)
        if first < 0 or index < 0 or odd:
            raise elf.error("OBJ015", f"byte {relocation.offset} of .maps is patched, and belongs to no map's values")
        target = _target(elf, places, spec.maps[name], relocation.symbol, relocation.offset, functions)
        made = spec.maps[name]
        if made.key_size != 4 or (made.max_entries and index >= made.max_entries and made.kind != "hash_of_maps"):
            raise elf.error("OBJ015", f"map {name!r} has no place for static value {index}")
        made.contents.append((_INDEX.pack(index), target))


def _owner(places: MapPlaces, starts: list[int], offset: int) -> str:
    from bisect import bisect_right

    at = bisect_right(starts, offset) - 1
    name = places.by_offset[starts[at]] if at >= 0 else ""
    return name if name and offset < places.values[name][1] else ""


def _target(
    elf: ElfFile, places: MapPlaces, made: MapSpec, symbol: Symbol, offset: int, functions: dict[str, str]
) -> str:
    if made.kind == "prog_array":
        if symbol.type == STT_FUNC and symbol.name in functions:
            return symbol.name
        raise elf.error(
            "OBJ015", f"prog array {made.name!r} is to hold {symbol.name or 'a section'!r}, which is no program"
        )
    section = places.section
    if section is not None and symbol.section == section.index:
        addend = 0
        if symbol.type == STT_SECTION and offset + _POINTER <= section.size:
            addend = int.from_bytes(section.data[offset : offset + _POINTER], "little")
        found = places.by_offset.get(symbol.value + addend)
        if found is not None:
            return found
    raise elf.error("OBJ015", f"map {made.name!r} is to hold {symbol.name or 'a section'!r}, which is no map")
