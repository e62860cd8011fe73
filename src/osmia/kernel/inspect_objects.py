"""What the kernel says about one object: programs, maps, links and type information, by descriptor."""

from __future__ import annotations

from struct import Struct, pack_into, unpack_from

from osmia.kernel import refusals, syscall
from osmia.kernel.maps.base import MapInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROG = Struct("=II8sIIQQQIIQ16sI")
PROG_INFO_SIZE = 232
_MAP_INFO_SIZE = 104
_BTF_INFO_SIZE = 32
_CLOCK_BOOTTIME = 7


class ProgramInfo:
    """What the kernel says about a program (``struct bpf_prog_info``).

    :ivar tag: hash of its instructions, in hexadecimal. :ivar gpl: its licence is compatible with the GPL.
    :ivar xlated_size, jited_size: bytes of verified instructions and of machine code; 0 where the kernel hides them.
    :ivar load_time_ns: on the clock since boot (``CLOCK_BOOTTIME``). :ivar created_by_uid: who loaded it.
    :ivar run_time_ns, run_count: since they are counted (:func:`osmia.kernel.inspect.statistics`, or
        ``kernel.bpf_stats_enabled``). :ivar recursion_misses: runs left out because the program was running on that CPU
        already. :ivar verified_insns: how many instructions the verifier looked at (Linux 5.16, else 0).
    :ivar map_ids: numbers of its maps. :ivar btf_id: of its type information, 0 for none.
    :ivar attach_btf_id, attach_btf_obj_id: the BTF type it was loaded to attach to, and the BTF object that has it.
    :ivar functions: how many functions it has. :ivar memory: bytes of kernel memory, 0 where that is not known.
    :ivar ifindex: the network device it is bound to, 0 for none.
    """

    __slots__ = (
        "attach_btf_id", "attach_btf_obj_id", "btf_id", "created_by_uid", "functions", "gpl", "id", "ifindex",
        "jited_size", "load_time_ns", "map_ids", "memory", "name", "recursion_misses", "run_count", "run_time_ns",
        "tag", "type_number", "verified_insns", "xlated_size",
    )  # fmt: skip

    def __init__(self, data: bytearray, map_ids: list[int]) -> None:
        kind, number, tag, jited, xlated, _, _, load_time, uid, _, _, name, ifindex = _PROG.unpack_from(data)
        self.type_number: int = kind
        self.id: int = number
        self.tag: str = tag.hex()
        self.jited_size: int = jited
        self.xlated_size: int = xlated
        self.load_time_ns: int = load_time
        self.created_by_uid: int = uid
        self.map_ids = map_ids
        self.name: str = name.partition(b"\0")[0].decode("ascii", "backslashreplace")
        self.ifindex: int = ifindex
        self.gpl = bool(unpack_from("=I", data, 84)[0] & 1)
        self.functions: int = max(unpack_from("=I", data, 104)[0], 1)
        self.btf_id: int = unpack_from("=I", data, 128)[0]
        self.run_time_ns: int
        self.run_count: int
        self.recursion_misses: int
        self.run_time_ns, self.run_count, self.recursion_misses = unpack_from("=QQQ", data, 192)
        self.verified_insns: int
        self.attach_btf_obj_id: int
        self.attach_btf_id: int
        self.verified_insns, self.attach_btf_obj_id, self.attach_btf_id = unpack_from("=III", data, 216)
        self.memory = 0

    @property
    def kind(self) -> str:
        """The program type's name, ``type 99`` for one that Osmia does not know."""
        from osmia.abi import prog_types

        row = prog_types.TABLE.find(self.type_number)
        return f"type {self.type_number}" if row is None else str(row.name)

    @property
    def loaded_at(self) -> float:
        """When it was loaded, in seconds since 1970."""
        import time

        return time.time() - time.clock_gettime(_CLOCK_BOOTTIME) + self.load_time_ns / 1e9

    def plain(self) -> dict[str, Any]:
        """Everything by name, for JSON."""
        return {"kind": self.kind, **_slots(self), "loaded_at": round(self.loaded_at, 3)}

    def __repr__(self) -> str:
        return f"ProgramInfo({self.kind} {self.name!r}, id {self.id}, {self.run_count} runs)"


def read_program(fd: int) -> ProgramInfo:
    """What the kernel says about a program's descriptor. :raises LoadError: KRN033 when it is no program."""
    try:
        data = bytearray(PROG_INFO_SIZE)
        syscall.object_info(fd, data)
        count = unpack_from("=I", data, 52)[0]
        ids: list[int] = []
        if count:
            room = bytearray(4 * count)
            data = bytearray(PROG_INFO_SIZE)
            pack_into("=IQ", data, 52, count, syscall.address(room))
            syscall.object_info(fd, data)
            ids = list(unpack_from(f"={min(count, unpack_from('=I', data, 52)[0])}I", room))
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no program", error) from None
    return ProgramInfo(data, ids)


class MapRecord(MapInfo):
    """As :class:`~osmia.kernel.maps.base.MapInfo`, with what else the kernel tells.

    :ivar btf_key, btf_value: types of key and value in its BTF, 0 for none. :ivar memory: bytes of kernel memory, 0
        where that is not known. :ivar frozen: user space can no longer write to it.
    """

    __slots__ = ("btf_key", "btf_value", "frozen", "memory")

    def __init__(self, data: bytes | bytearray) -> None:
        super().__init__(data)
        self.btf_key: int
        self.btf_value: int
        self.btf_key, self.btf_value = unpack_from("=II", data, 68)
        self.memory = 0
        self.frozen = False

    def plain(self) -> dict[str, Any]:
        """Everything by name, for JSON."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in MapInfo.__slots__}, **_slots(self)}


def read_map(fd: int) -> MapRecord:
    """What the kernel says about a map's descriptor. :raises LoadError: KRN033 when it is no map."""
    data = bytearray(_MAP_INFO_SIZE)
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no map", error) from None
    return MapRecord(data)


class BtfInfo:
    """A loaded BTF object: of the kernel, a module, or what programs and maps were made with.

    :ivar size: bytes. :ivar name: ``vmlinux`` or a module's, empty for others. :ivar kernel: it is the kernel's own.
    """

    __slots__ = ("id", "kernel", "name", "size")

    def __init__(self, number: int, size: int, name: str, kernel: bool) -> None:
        self.id = number
        self.size = size
        self.name = name
        self.kernel = kernel

    def plain(self) -> dict[str, Any]:
        """Everything by name, for JSON."""
        return _slots(self)

    def __repr__(self) -> str:
        return f"BtfInfo({self.name!r}, id {self.id}, {self.size} bytes)"


def read_btf(fd: int) -> BtfInfo:
    """What the kernel says about a BTF object's descriptor. :raises LoadError: KRN033 when it is none."""
    name = bytearray(64)
    data = bytearray(_BTF_INFO_SIZE)
    pack_into("=QI", data, 16, syscall.address(name), len(name))
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no BTF object", error) from None
    size, number = unpack_from("=II", data, 8)
    return BtfInfo(number, size, text_of(name), bool(unpack_from("=I", data, 28)[0]))


def read_btf_data(fd: int) -> bytes:
    """The blob of a BTF object's descriptor. :raises LoadError: KRN033."""
    room = bytearray(read_btf(fd).size)
    data = bytearray(_BTF_INFO_SIZE)
    pack_into("=QI", data, 0, syscall.address(room), len(room))
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected(f"cannot read the BTF object of descriptor {fd}", error) from None
    return bytes(room)


def fdinfo(fd: int) -> dict[str, str]:
    """What ``/proc`` tells of a descriptor of this process, by key; empty where there is no /proc."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as file:
            text = file.read(1 << 16).decode("utf-8", "backslashreplace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def text_of(room: bytearray) -> str:
    """The text in a buffer, up to its NUL."""
    return bytes(room).partition(b"\0")[0].decode("utf-8", "backslashreplace")


def number_of(fields: dict[str, str], key: str) -> int:
    """A number of :func:`fdinfo`, 0 where it is not told."""
    value = fields.get(key, "")
    return int(value) if value.isdigit() else 0


def _slots(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__slots__}
