"""Reading objects: an ELF file made by clang, gcc or Osmia becomes a :class:`~osmia.object.spec.CollectionSpec`.

What the result's instructions look like: every reference to a map, a callback or something of the kernel's is in the
form that the kernel knows (pseudo source registers), with 0 where a descriptor, an id or an address goes; ``relocs``
says what goes there:

- ``map``: a wide load, source 1; the low half takes the map's descriptor.
- ``map_value``: a wide load, source 2; the low half takes the descriptor, the high half has the offset (``addend``)
  already.
- ``kconfig``: as ``map_value`` of the map ``.kconfig``; ``name`` is the setting.
- ``ksym``: a wide load; with source 3 it takes a BTF id (``addend``: the type, or the function, in the collection's
  BTF), with source 0 an address (``addend`` 0).
- ``kfunc``: a call, source 2; takes a BTF id (``addend``: the ``Func`` in the collection's BTF).
- ``call`` (a call, source 1) and ``func`` (a wide load, source 4) are done.
"""

from __future__ import annotations

from osmia.diagnostics.errors import BtfError, ObjectError
from osmia.object.elf_data import complete_sections, read_data, read_externs
from osmia.object.elf_file import ElfFile
from osmia.object.elf_maps import read_maps, read_values
from osmia.object.link import Linker
from osmia.object.sections import parse_section
from osmia.object.spec import CollectionSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.ext import BtfExt
    from osmia.btf.reader import Btf

META_SECTION = ".osmia"
_UNSUPPORTED = {
    ".struct_ops": "tables of functions for the kernel (struct_ops maps)",
    ".struct_ops.link": "tables of functions for the kernel (struct_ops maps)",
    "?.struct_ops": "tables of functions for the kernel (struct_ops maps)",
    "?.struct_ops.link": "tables of functions for the kernel (struct_ops maps)",
    ".addr_space.1": "variables in an arena",
    ".arena.1": "variables in an arena",
    ".jumptables": "jump tables",
}


def read_object(data: bytes, name: str = "") -> CollectionSpec:
    """The programs, maps, globals, types and Osmia's own notes of an object file.

    :param data: the file's bytes. :param name: the collection's name, also used in messages.
    :raises ObjectError: the file is malformed, or holds something that cannot be represented exactly. Problems of its
        BTF come with the BTF's own codes.
    """
    try:
        return _read(ElfFile(bytes(data), name), name)
    except BtfError as error:
        where = f"{name}: " if name else ""
        raise ObjectError(error.code, f"{where}{error.message}", hint=error.hint, notes=error.notes) from None


def _read(elf: ElfFile, name: str) -> CollectionSpec:
    for section in elf.sections[1:]:
        if section.name in _UNSUPPORTED and section.size:
            raise elf.error(
                "OBJ007", f"section {section.name!r} holds {_UNSUPPORTED[section.name]}, which Osmia cannot load yet"
            )
    spec = CollectionSpec(name, _license(elf))
    btf, ext = _types(elf)
    sections = complete_sections(elf, btf)
    spec.btf = sections.blob
    places = read_maps(elf, sections, spec)
    read_data(elf, sections, spec)
    externs = read_externs(elf, sections)
    linker = Linker(elf, btf, ext, places, externs, spec)
    for entry_name, entry in linker.entries():
        if entry_name in spec.programs:
            raise elf.error("OBJ008", f"there are two programs named {entry_name!r}")
        program = linker.link(entry_name, entry)
        meaning = parse_section(program.section)
        program.prog_type, program.attach_type = meaning.prog_type, meaning.attach_type
        program.flags, program.hook = meaning.flags, meaning.hook
        program.license = spec.license
        spec.programs[entry_name] = program
    read_values(elf, places, spec, dict.fromkeys(spec.programs, ""))
    weak = sorted(extern.name for extern in externs.values() if extern.kind == "kconfig" and extern.weak)
    if weak:
        spec.extras["kconfig_weak"] = weak
    version = elf.by_name("version")
    if version is not None:
        if version.size != 4:
            raise elf.error("OBJ019", f"section 'version' has {version.size} bytes, not 4")
        spec.extras["kern_version"] = int.from_bytes(version.data, "little")
    notes = elf.by_name(META_SECTION)
    if notes is not None:
        from osmia.object.meta import apply_meta, decode_meta

        apply_meta(spec, decode_meta(notes.data))
    return spec


def _license(elf: ElfFile) -> str:
    section = elf.by_name("license")
    if section is None:
        return ""
    try:
        return section.data.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        raise elf.error("OBJ019", "the license in section 'license' is no text") from None


def _types(elf: ElfFile) -> tuple[Btf | None, BtfExt | None]:
    section = elf.by_name(".BTF")
    if section is None or not section.size:
        return None, None
    from osmia.btf.reader import Btf

    btf = Btf.from_bytes(section.data)
    if btf.byteorder != "little":
        raise elf.error("OBJ017", "the file is little-endian, its BTF is big-endian")
    section = elf.by_name(".BTF.ext")
    if section is None or not section.size:
        return btf, None
    from osmia.btf.ext import BtfExt

    return btf, BtfExt.from_bytes(section.data, btf)
