"""Stacks: addresses from a stack map or event become frames, and frames become text."""

from __future__ import annotations

import struct
from array import array

from osmia.diagnostics.errors import SymbolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from osmia.symbols.kernel import KernelSymbols
    from osmia.symbols.process import ProcessSymbols, SymbolCache

# enum bpf_stack_build_id_status and struct bpf_stack_build_id, linux/bpf.h (4.17).
BUILD_ID_EMPTY, BUILD_ID_VALID, BUILD_ID_IP = 0, 1, 2
_BUILD_ID = struct.Struct("=i20sQ")
# Values from PERF_CONTEXT_MAX up are marks between parts of a perf call chain, not addresses.
_FIRST_MARK = (1 << 64) - 4095


class Frame:
    """One function of a stack.

    :ivar name: the function, readable; empty if unknown.
    :ivar offset: into the function; where it is unknown, the place in the module's file, or the address.
    :ivar module: path of the binary, ``[vdso]``, a kernel module's name, ``bpf``, or empty.
    :ivar address: in the process or in the kernel; 0 where only a place in a file is known.
    :ivar kernel: whether it is kernel code.
    """

    __slots__ = ("address", "kernel", "module", "name", "offset")

    def __init__(self, name: str, offset: int, module: str, address: int = 0, kernel: bool = False) -> None:
        self.name = name
        self.offset = offset
        self.module = module
        self.address = address
        self.kernel = kernel

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Frame({self})"

    def __str__(self) -> str:
        """``name+0x1f (module)``; ``0x7f00 (module)`` for an unknown function."""
        place = f" ({self.module})" if self.module else ""
        if not self.name:
            return f"{self.offset:#x}{place}"
        return f"{self.name}+{self.offset:#x}{place}"

    @property
    def label(self) -> str:
        """A name fit for a folded stack: the function, else ``[module]``, else ``[unknown]``."""
        if self.name:
            return self.name
        base = self.module.removesuffix(" (deleted)").rpartition("/")[2].strip("[]")
        return f"[{base}]" if base else "[unknown]"

    def _key(self) -> tuple[str, int, str, int, bool]:
        return (self.name, self.offset, self.module, self.address, self.kernel)


def split_addresses(data: bytes | bytearray | memoryview) -> list[int]:
    """The addresses in a stack map's value or a ``bpf_get_stack`` buffer: 64-bit words up to the first zero.

    :raises SymbolError: SYM017, the length is no multiple of 8.
    """
    if len(data) % 8:
        raise SymbolError("SYM017", f"a stack of {len(data)} bytes does not consist of 64-bit addresses")
    words = array("Q")
    words.frombytes(bytes(data))
    return words[: words.index(0)].tolist() if 0 in words else words.tolist()


def kernel_frames(addresses: Sequence[int], symbols: KernelSymbols) -> list[Frame]:
    """The frames of a kernel stack, innermost first."""
    return _frames(addresses, symbols, True)


def user_frames(addresses: Sequence[int], symbols: ProcessSymbols) -> list[Frame]:
    """The frames of a process's stack, innermost first."""
    return _frames(addresses, symbols, False)


def _frames(addresses: Sequence[int], symbols: KernelSymbols | ProcessSymbols, kernel: bool) -> list[Frame]:
    plain = [address for address in addresses if 0 < address < _FIRST_MARK]
    # All but the innermost are return addresses: behind the call, which may be the function's last
    # instruction. The byte before belongs to the call.
    asked = plain[:1] + [address - 1 for address in plain[1:]]
    frames = []
    for address, place, found in zip(plain, asked, symbols.resolve(asked), strict=True):
        name, offset, module = found
        if not name and place != address:
            # Nothing calls a signal's return code: its address is exact.
            again = symbols.lookup(address)
            if again[0]:
                frames.append(Frame(*again, address, kernel))
                continue
        frames.append(Frame(name, offset + address - place, module, address, kernel))
    return frames


def fold(
    user: Iterable[Frame] = (),
    kernel: Iterable[Frame] = (),
    *,
    command: str = "",
    annotate: bool = False,
) -> str:
    """A stack as one line, outermost function first, as flame graph tools read it: ``a;b;c``.

    :param user: frames of the process, innermost first; ``kernel`` the kernel's, which come behind them.
    :param command: put first, if given.
    :param annotate: mark kernel functions with ``_[k]``.
    """
    parts = [command] if command else []
    parts += [frame.label for frame in reversed(list(user))]
    parts += [frame.label + ("_[k]" if annotate else "") for frame in reversed(list(kernel))]
    return ";".join(part.replace(";", ":").replace("\n", " ") for part in parts)


class BuildIdEntry:
    """One entry of a stack map with build ids (``BPF_F_STACK_BUILD_ID``).

    :ivar build_id: of the file; empty where the kernel could not tell it.
    :ivar place: the offset in the file, or the address if there is no build id.
    """

    __slots__ = ("build_id", "place")

    def __init__(self, build_id: bytes, place: int) -> None:
        self.build_id = build_id
        self.place = place

    def __repr__(self) -> str:
        return f"BuildIdEntry({self.build_id.hex() or 'address'}, {self.place:#x})"


def split_build_ids(data: bytes | bytearray | memoryview) -> list[BuildIdEntry]:
    """The entries of a stack with build ids, up to the first empty one.

    :raises SymbolError: SYM017, not a whole number of entries, or an unknown kind of entry.
    """
    if len(data) % _BUILD_ID.size:
        raise SymbolError("SYM017", f"a stack of {len(data)} bytes does not consist of build-id entries")
    entries = []
    for status, build_id, place in _BUILD_ID.iter_unpack(data):
        if status == BUILD_ID_EMPTY:
            break
        if status not in (BUILD_ID_VALID, BUILD_ID_IP):
            raise SymbolError("SYM017", f"a build-id stack has an entry of the unknown kind {status}")
        # The kernel pads shorter ids (16 bytes of MD5 and UUID) with zeros.
        whole = build_id if any(build_id[16:]) else build_id[:16]
        entries.append(BuildIdEntry(whole if status == BUILD_ID_VALID else b"", place))
    return entries


def build_id_frames(
    entries: Sequence[BuildIdEntry], cache: SymbolCache, process: ProcessSymbols | None = None
) -> list[Frame]:
    """Frames of a stack with build ids; ``process`` names the addresses of entries without one.

    Files are found among those ``cache`` has loaded, and among those the system keeps by build id.
    """
    from osmia.symbols.demangle import demangle

    frames = []
    for number, entry in enumerate(entries):
        back = 1 if number else 0
        if not entry.build_id:
            name, offset, module = process.lookup(entry.place - back) if process else ("", entry.place - back, "")
            frames.append(Frame(name, offset + back, module, entry.place))
            continue
        symbols = cache.by_build_id(entry.build_id)
        if symbols is None:
            frames.append(Frame("", entry.place, f"build-id:{entry.build_id.hex()}"))
            continue
        address = symbols.image.address_of(entry.place - back)
        found = symbols.lookup(address) if address is not None else None
        if found is None:
            frames.append(Frame("", entry.place if address is None else address + back, symbols.shown))
        else:
            frames.append(Frame(demangle(found[0]), found[1] + back, symbols.shown))
    return frames
