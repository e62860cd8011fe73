"""Symbols of one binary: name to file offset for uprobes, address to name for stacks."""

from __future__ import annotations

import re

from osmia.diagnostics.errors import SymbolError
from osmia.diagnostics.text import did_you_mean
from osmia.symbols.debugfiles import debug_image, mini_debug_image
from osmia.symbols.demangle import demangle
from osmia.symbols.files import find_binary, open_image
from osmia.symbols.image import ET_EXEC, ElfImage
from osmia.symbols.tables import (
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    AddressIndex,
    SymbolTable,
    read_tables,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KINDS = {STT_FUNC: "function", STT_GNU_IFUNC: "indirect", STT_OBJECT: "object"}
_BINDINGS = {STB_LOCAL: "local", STB_WEAK: "weak"}
_PARAMETERS = re.compile(r"\(.*$")


class Symbol:
    """One symbol of a binary.

    :ivar name: as in the symbol table, mangled if it is, without version.
    :ivar address: in the file's own layout; add the load bias of a process for its address there.
    :ivar size: bytes; 0 where the table does not say.
    :ivar offset: in the file, which is what a uprobe takes; -1 where the symbol has no bytes in the file.
    :ivar kind: ``function``, ``indirect`` (IFUNC: code that picks the function to use), ``label`` or ``object``.
    :ivar binding: ``global``, ``weak`` or ``local``.
    :ivar path: the binary, as a path this process can open.
    """

    __slots__ = ("address", "binding", "kind", "name", "offset", "path", "size")

    def __init__(self, name: str, path: str, *, address: int, size: int, offset: int, kind: str, binding: str) -> None:
        self.name = name
        self.path = path
        self.address = address
        self.size = size
        self.offset = offset
        self.kind = kind
        self.binding = binding

    @property
    def readable(self) -> str:
        """The name as its author wrote it (C++ and Rust names demangled)."""
        return demangle(self.name)

    def __repr__(self) -> str:
        return f"Symbol({self.name!r}, {self.path!r}, address={self.address:#x}, offset={self.offset:#x})"


class ElfSymbols:
    """The symbols of one program or shared library.

    Tables are read when first needed: the file's own ones, then those of separate debug data (by build
    id, by ``.gnu_debuglink``, or the compressed ``.gnu_debugdata``), which is looked for only when a name
    is missing, or for addresses when the file has no ``.symtab``.
    """

    __slots__ = ("_debug", "_index", "_own", "build_id", "image", "path", "root", "shown")

    def __init__(self, image: ElfImage, *, path: str = "", root: str = "/") -> None:
        """Use an open image; prefer :meth:`open`. ``root`` is where separate debug files are looked for."""
        self.image = image
        self.path = path or image.name
        self.shown = image.name
        self.root = root
        self.build_id = image.build_id
        self._own: list[SymbolTable] | None = None
        self._debug: list[SymbolTable] | None = None
        self._index: AddressIndex | None = None

    @classmethod
    def open(cls, path: str, *, root: str = "/", shown: str | None = None) -> ElfSymbols:
        """Open a program or shared library; messages call it ``shown``.

        :raises SymbolError: SYM001 (cannot open), SYM002 (not ELF), SYM003 (damaged), SYM016 (an unlinked
            object or a core dump).
        """
        return cls(open_image(path, shown), path=path, root=root)

    def __repr__(self) -> str:
        return f"ElfSymbols({self.path!r})"

    @property
    def pie(self) -> bool:
        """Whether the loader may move it: a shared library or position-independent program."""
        return self.image.type != ET_EXEC

    def close(self) -> None:
        """Let go of the file. What was read stays usable; an address index is whole once it is built."""
        self.image.close()

    # Tables

    def own_tables(self) -> list[SymbolTable]:
        """``.symtab`` and ``.dynsym`` of the file itself."""
        if self._own is None:
            self._own = read_tables(self.image)
        return self._own

    def debug_tables(self) -> list[SymbolTable]:
        """The tables of separate debug data; damaged debug data counts as none."""
        if self._debug is None:
            self._debug = []
            for find in (debug_image, mini_debug_image):
                try:
                    with_debug = find(self.image, self.path, self.root)
                    if with_debug is not None:
                        self._debug = read_tables(with_debug)
                        with_debug.close()
                except SymbolError:
                    continue
                if self._debug:
                    break
        return self._debug

    def _has_symtab(self) -> bool:
        return self.image.section(".symtab") is not None

    def index(self) -> AddressIndex:
        """The address index over everything known; built once."""
        if self._index is None:
            tables = list(self.own_tables())
            if not self._has_symtab():
                tables += self.debug_tables()
            self._index = AddressIndex(self.image, tables)
        return self._index

    # Addresses

    def lookup(self, address: int) -> tuple[str, int] | None:
        """The function that holds an address of the file's own layout: its name and the offset into it."""
        index = self.index()
        at = index.find(address)
        if at < 0:
            return None
        return index.name(index.which[at]), address - index.starts[at]

    # Names

    def find_all(self, name: str, *, objects: bool = False) -> list[Symbol]:
        """All symbols of that name, one per address; ``objects`` looks among data symbols instead of code.

        A name with ``::`` or ``(`` is compared with demangled names, with and without parameters.
        """
        for tables in (self.own_tables, self.debug_tables):
            found = self._matches(tables(), name, objects)
            if found:
                return found
        return []

    def _matches(self, tables: list[SymbolTable], name: str, objects: bool) -> list[Symbol]:
        best: dict[int, tuple[bool, Symbol]] = {}
        for table in tables:
            fits = table.is_data if objects else table.is_code
            if "::" in name or "(" in name:
                wanted = [index for index in range(len(table.heads)) if _is_named(table.name(index), name)]
            else:
                wanted = table.with_name(name)
            for index in wanted:
                if not fits(index):
                    continue
                hidden = table.is_old_version(index)
                known = best.get(table.values[index])
                if known is None or (known[0] and not hidden):
                    best[table.values[index]] = (hidden, self._symbol(table, index))
        return [symbol for _, symbol in sorted(best.values(), key=_by_preference)]

    def find(self, name: str, *, objects: bool = False, indirect: bool = False) -> Symbol:
        """The one symbol of that name. Default versions and global symbols go before others.

        :param indirect: accept an IFUNC, whose code only picks the function that will run.
        :raises SymbolError: SYM004 (none, with near names), SYM005 (several), SYM015 (an IFUNC), SYM006
            (it has no bytes in the file).
        """
        best = self._first(name, objects)
        if best is None:
            raise self._no_such(name)
        if best.kind == "indirect" and not indirect:
            raise SymbolError(
                "SYM015",
                f"'{name}' in '{self.shown}' is an indirect function: its code only picks the one to run",
                hint=self._variants(name),
            )
        if best.offset < 0:
            raise SymbolError("SYM006", f"'{name}' of '{self.shown}' has no bytes in the file to put a probe on")
        return best

    def _first(self, name: str, objects: bool) -> Symbol | None:
        found = self.find_all(name, objects=objects)
        if len(found) < 2:
            return found[0] if found else None
        plain = [symbol for symbol in found if symbol.binding != "local"]
        if plain and len({symbol.name for symbol in plain}) == 1:
            # A table lists the default version and older ones; find_all has put the default first.
            return plain[0]
        readable = {symbol.readable for symbol in found}
        places = ", ".join(f"{symbol.address:#x}" for symbol in found[:6])
        which = f" ({'; '.join(sorted(readable)[:6])})" if len(readable) > 1 else ""
        raise SymbolError(
            "SYM005",
            f"'{self.shown}' has {len(found)} functions named '{name}'{which}",
            hint=f"name one by its address: {places}",
        )

    def _no_such(self, name: str) -> SymbolError:
        names = list(dict.fromkeys(self.names()))
        hint = did_you_mean(name, names) or did_you_mean(name, map(demangle, names))
        if not names:
            hint = "it is stripped; install its debug symbols, or name an address"
        elif hint is None and not self._has_symtab() and not self.debug_tables():
            hint = "it is stripped down to exported names; debug symbols would have the others"
        return SymbolError("SYM004", f"'{self.shown}' has no function '{name}'", hint=hint)

    def _variants(self, name: str) -> str:
        pattern = re.compile(rf"_*{re.escape(name)}_\w+")
        near = sorted({item for item in self.names() if pattern.fullmatch(item)})
        if near:
            return f"probe the function it picks: {', '.join(near[:6])}"
        return "probe the function it picks; the library's debug symbols name those"

    def names(self) -> Iterator[str]:
        """The names of all functions, mangled, in no order and perhaps more than once."""
        for table in self.own_tables() + self.debug_tables():
            for index in table.code():
                name = table.name(index).partition("@")[0]
                if name and not name.startswith("$"):
                    yield name

    def functions(self, pattern: str | Callable[[str], bool] = "*") -> list[Symbol]:
        """Functions whose name matches a shell pattern (or passes a test), by address, one name each.

        Indirect functions and functions without bytes in the file are left out.
        """
        if callable(pattern):
            fits = pattern
        else:
            from fnmatch import translate

            matcher = re.compile(translate(pattern)).match
            fits = lambda name: matcher(name) is not None  # noqa: E731
        found: dict[int, Symbol] = {}
        for table in self.own_tables() + self.debug_tables():
            for index in table.code():
                if table.values[index] in found or not fits(table.name(index).partition("@")[0]):
                    continue
                symbol = self._symbol(table, index)
                if symbol.kind == "function" and symbol.offset >= 0:
                    found[symbol.address] = symbol
        return [found[address] for address in sorted(found)]

    def _symbol(self, table: SymbolTable, index: int) -> Symbol:
        head, address = table.heads[index], table.values[index]
        offset = self.image.offset_of(address)
        return Symbol(
            table.name(index).partition("@")[0],
            self.path,
            address=address,
            size=table.sizes[index],
            offset=-1 if offset is None else offset,
            kind=_KINDS.get(head >> 32 & 15, "label"),
            binding=_BINDINGS.get(head >> 36 & 15, "global"),
        )

    def place(self, address: int) -> Symbol:
        """A symbol for an address given as a number; it must be in an executable part of the file.

        :raises SymbolError: SYM006.
        """
        offset = self.image.offset_of(address)
        if offset is None or self.image.address_of(offset) != address:
            raise SymbolError(
                "SYM006",
                f"address {address:#x} is not in the code of '{self.shown}'",
                hint="addresses are those that `nm` and `objdump -d` show, not those of a running process",
            )
        known = self.lookup(address)
        name = f"{address:#x}" if known is None else known[0] + (f"+{known[1]:#x}" if known[1] else "")
        return Symbol(name, self.path, address=address, size=0, offset=offset, kind="function", binding="local")


def find_symbol(target: str, name: str | int, *, offset: int = 0, pid: int | None = None) -> Symbol:
    """The place of a uprobe: function ``name`` (or an address) of a program or library, plus ``offset`` bytes.

    :param target: a path, a program on PATH, or a library (``libc``, ``c``); see
        :func:`osmia.symbols.files.find_binary`.
    :param pid: look at files as that process sees them, its own copy of a library first.
    :raises SymbolError: SYM007 (no such file), SYM004 (no such function; near names in the hint), SYM005,
        SYM006 (``offset`` leads out of the function), SYM015, and the errors of :meth:`ElfSymbols.open`.
    """
    symbols = open_target(target, pid=pid)
    if isinstance(name, int):
        return symbols.place(name + offset)
    symbol = symbols.find(name)
    if offset:
        if offset < 0 or offset >= (symbol.size or 1 << 20):
            raise SymbolError(
                "SYM006",
                f"offset {offset} is outside of '{name}', which has {symbol.size} bytes",
                hint="offsets count from the function's start",
            )
        symbol = symbols.place(symbol.address + offset)
    return symbol


def open_target(target: str, *, pid: int | None = None) -> ElfSymbols:
    """The binary that a probe's target names: :func:`find_binary`, then :meth:`ElfSymbols.open`."""
    path = find_binary(target, pid=pid)
    prefix = f"/proc/{pid}/root"
    root = prefix if pid is not None and path.startswith(prefix + "/") else "/"
    return ElfSymbols.open(path, root=root, shown=target if "/" in target else path)


def _is_named(symbol: str, name: str) -> bool:
    if not symbol.startswith(("_Z", "__Z")):
        return symbol == name
    readable = demangle(symbol)
    return readable == name or _PARAMETERS.sub("", readable) == name


def _by_preference(item: tuple[bool, Symbol]) -> tuple[bool, bool, int]:
    hidden, symbol = item
    return (hidden, symbol.binding == "local", symbol.address)
