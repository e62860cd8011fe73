"""BPF map types and the rules for making and using them.

Made by hand. Numbers are those of ``enum bpf_map_type`` in the kernel's BTF (Linux 6.18) and, beyond, of the uapi
header
of Linux 7.2; versions are the releases that first contained the commit that added the type. Rules for keys, values,
entries and flags are those of each type's ``map_alloc_check``/``map_alloc`` of Linux 6.12 and were tried on Linux 6.18:
a test makes maps of every type with good and bad sizes and flags and compares the kernel's answer with
:meth:`MapType.problems`. What user space and helpers may do comes from ``struct bpf_map_ops``, the system call's
``bpf_map_copy_value`` and ``bpf_map_update_value`` and the verifier's ``check_map_func_compatibility``.
"""

from __future__ import annotations

from osmia.abi._table import Table, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NO_PREALLOC = 1 << 0
NO_COMMON_LRU = 1 << 1
NUMA_NODE = 1 << 2
RDONLY = 1 << 3
WRONLY = 1 << 4
STACK_BUILD_ID = 1 << 5
ZERO_SEED = 1 << 6
RDONLY_PROG = 1 << 7
WRONLY_PROG = 1 << 8
CLONE = 1 << 9
MMAPABLE = 1 << 10
PRESERVE_ELEMS = 1 << 11
INNER_MAP = 1 << 12
LINK = 1 << 13
PATH_FD = 1 << 14
VTYPE_BTF_OBJ_FD = 1 << 15
TOKEN_FD = 1 << 16
SEGV_ON_FAULT = 1 << 17
NO_USER_CONV = 1 << 18
RB_OVERWRITE = 1 << 19

# Creation flags: kernel name without BPF_F_, value, version.
FLAGS: tuple[tuple[str, int, Version], ...] = (
    ("NO_PREALLOC", NO_PREALLOC, (4, 6)),
    ("NO_COMMON_LRU", NO_COMMON_LRU, (4, 10)),
    ("NUMA_NODE", NUMA_NODE, (4, 14)),
    ("RDONLY", RDONLY, (4, 15)),
    ("WRONLY", WRONLY, (4, 15)),
    ("STACK_BUILD_ID", STACK_BUILD_ID, (4, 17)),
    ("ZERO_SEED", ZERO_SEED, (5, 0)),
    ("RDONLY_PROG", RDONLY_PROG, (5, 2)),
    ("WRONLY_PROG", WRONLY_PROG, (5, 2)),
    ("CLONE", CLONE, (5, 4)),
    ("MMAPABLE", MMAPABLE, (5, 5)),
    ("PRESERVE_ELEMS", PRESERVE_ELEMS, (5, 10)),
    ("INNER_MAP", INNER_MAP, (5, 10)),
    ("LINK", LINK, (6, 4)),
    ("PATH_FD", PATH_FD, (6, 5)),
    ("VTYPE_BTF_OBJ_FD", VTYPE_BTF_OBJ_FD, (6, 9)),
    ("TOKEN_FD", TOKEN_FD, (6, 9)),
    ("SEGV_ON_FAULT", SEGV_ON_FAULT, (6, 9)),
    ("NO_USER_CONV", NO_USER_CONV, (6, 9)),
    ("RB_OVERWRITE", RB_OVERWRITE, (6, 19)),
)

PERCPU_VALUE_MAX = 32768
"""Most bytes of one CPU's value, after rounding up to eight (the kernel's PCPU_MIN_UNIT_SIZE)."""

Sizes = tuple[int, int, int]
"""Least, most and step of a size in bytes; most 0: bounded by memory only."""


class MapType:
    """One map type.

    :ivar number: its value in ``enum bpf_map_type``. :ivar name: lower case, without prefix (``percpu_hash``).
    :ivar version: kernel release it came in.
    :ivar key: key sizes allowed: ``(least, most, step)``, most 0 for no limit of its own; ``(0, 0, 1)``: no key.
    :ivar value: likewise for the value; for per-CPU types of one CPU's value.
    :ivar entries: what ``max_entries`` means: ``count`` (entries, at least 1), ``zero`` (must be 0), ``one`` (must be
        1),
        ``bytes`` (ring size: a power of two, multiple of the page size), ``pages`` (arena: at most 4 GiB in all).
    :ivar flags: creation flags allowed, as a mask; ``TOKEN_FD`` goes with every type and is not listed.
    :ivar required: flags that must be given.
    :ivar extra: meaning of ``map_extra``, ``""`` where it must be 0.
    :ivar per_cpu: every CPU has a value of its own; user space reads and writes them all, each rounded up to 8 bytes.
    :ivar lru: when full, the least recently used entry makes room.
    :ivar inner: values are maps; made with the descriptor of a template map.
    :ivar btf_only: made only with BTF types of key and value (``struct_ops``: of the kernel's struct).
    :ivar direct_value: programs may hold the address of its value (global data).
    :ivar sleepable: sleepable programs may use it.
    :ivar in_programs: programs may refer to it at all.
    :ivar user: what user space may do: of ``lookup``, ``update``, ``delete``, ``next_key``, ``lookup_delete``,
        ``lookup_batch``,
        ``lookup_delete_batch``, ``update_batch``, ``delete_batch``, ``mmap``, ``epoll``; as Linux 6.18 has it (older
        kernels: ``lookup_delete`` of hash tables from 5.14 on, of stack traces from 6.18 on).
    :ivar helpers: helper functions that take it (:mod:`osmia.abi.helpers` names).
    :ivar summary: one line.
    """

    __slots__ = (
        "btf_only", "direct_value", "entries", "extra", "flags", "helpers", "in_programs", "inner", "key", "lru",
        "name", "number", "per_cpu", "required", "sleepable", "summary", "user", "value", "version",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, version: Version, key: Sizes, value: Sizes, entries: str, flags: int,
        required: int, marks: str, user: str, helpers: tuple[str, ...], summary: str, extra: str = "",
    ) -> None:  # fmt: skip
        self.number = number
        self.name = name
        self.version = version
        self.key = key
        self.value = value
        self.entries = entries
        self.flags = flags
        self.required = required
        self.per_cpu = "p" in marks
        self.lru = "l" in marks
        self.inner = "i" in marks
        self.btf_only = "b" in marks
        self.direct_value = "d" in marks
        self.sleepable = "s" in marks
        self.in_programs = "n" not in marks
        self.user = tuple(_USER[letter] for letter in user)
        self.helpers = helpers
        self.summary = summary
        self.extra = extra

    @property
    def kernel_name(self) -> str:
        """The enumerator, ``BPF_MAP_TYPE_PERCPU_HASH``."""
        return "BPF_MAP_TYPE_" + self.name.upper()

    def flag_names(self) -> tuple[str, ...]:
        """The allowed creation flags by name, ``BPF_F_`` first."""
        return tuple("BPF_F_" + name for name, value, _ in FLAGS if value & self.flags)

    def user_value_size(self, value_size: int, cpus: int) -> int:
        """Bytes that user space passes for one value: per-CPU types hold one value per possible CPU."""
        return (value_size + 7) // 8 * 8 * cpus if self.per_cpu else value_size

    def problems(
        self, key_size: int, value_size: int, max_entries: int, flags: int = 0, extra: int = 0, page: int = 4096
    ) -> list[str]:
        """Why the kernel would refuse such a map, in words; empty when it is well formed.

        Says nothing of memory limits, of permissions, of flags that an older kernel does not have, or of
        ``kernel.perf_event_max_stack``, which bounds the frames (127) in a value of ``stack_trace``.
        """
        found = []
        for what, size, (least, most, step) in (("key", key_size, self.key), ("value", value_size, self.value)):
            if size < least or ((most or not least) and size > most) or (size - least) % step:
                found.append(f"{what} size is {_sizes_text(least, most, step)}, not {size}")
        if self.number == 7 and flags & STACK_BUILD_ID and value_size % 32:
            found.append(f"with STACK_BUILD_ID the value size is a multiple of 32 bytes, not {value_size}")
        if self.per_cpu and (value_size + 7) // 8 * 8 > PERCPU_VALUE_MAX:
            found.append(f"a per-CPU value has at most {PERCPU_VALUE_MAX} bytes, not {value_size}")
        found += self._entries_problems(max_entries, page)
        found += self._flag_problems(flags)
        if extra and not self.extra:
            found.append("map_extra must be 0")
        elif extra and self.name == "bloom_filter" and extra > 15:
            found.append(f"map_extra is the number of hash functions, 1 to 15, not {extra}")
        elif extra and self.name == "arena" and extra % page:
            found.append("map_extra is a page-aligned address")
        return found

    def _entries_problems(self, count: int, page: int) -> list[str]:
        rule = self.entries
        if rule == "zero" and count:
            return [f"max_entries must be 0, not {count}"]
        if rule == "one" and count != 1:
            return [f"max_entries must be 1, not {count}"]
        if rule == "bytes" and (not count or count & (count - 1) or count % page):
            return [f"max_entries is the size in bytes, a power of two and a multiple of {page}, not {count}"]
        if rule in ("count", "pages") and not count:
            return ["max_entries must be at least 1"]
        if rule == "pages" and count * page > 1 << 32:
            return [f"max_entries is a number of pages of at most 4 GiB together, not {count}"]
        return []

    def _flag_problems(self, flags: int) -> list[str]:
        found = []
        unknown = flags & ~(self.flags | TOKEN_FD)
        if unknown:
            names = [name for name, value, _ in FLAGS if value & unknown]
            rest = unknown & ~sum(value for _, value, _ in FLAGS)
            found.append("flags not allowed: " + ", ".join(names + ([hex(rest)] if rest else [])))
        if self.required & ~flags:
            names = [name for name, value, _ in FLAGS if value & self.required & ~flags]
            found.append("flags required: " + ", ".join(names))
        if flags & RDONLY and flags & WRONLY:
            found.append("RDONLY and WRONLY exclude each other")
        if flags & RDONLY_PROG and flags & WRONLY_PROG:
            found.append("RDONLY_PROG and WRONLY_PROG exclude each other")
        if flags & NUMA_NODE and flags & NO_COMMON_LRU and self.lru:
            found.append("NUMA_NODE and NO_COMMON_LRU exclude each other")
        return found

    def __repr__(self) -> str:
        return f"MapType({self.name!r}, {self.number})"


def _sizes_text(least: int, most: int, step: int) -> str:
    if most == least:
        return f"{least} bytes" if least else "0 (there is none)"
    if not most:
        return f"at least {least} bytes" + (f" in steps of {step}" if step > 1 else "")
    if least + step == most:
        return f"{least} or {most} bytes"
    return f"{least} to {most} bytes" + (f" in steps of {step}" if step > 1 else "")


_USER = {
    "l": "lookup", "u": "update", "d": "delete", "n": "next_key", "x": "lookup_delete", "L": "lookup_batch",
    "X": "lookup_delete_batch", "U": "update_batch", "D": "delete_batch", "m": "mmap", "e": "epoll",
}  # fmt: skip

_ANY = (1, 0, 1)
_NONE = (0, 0, 1)
_U32 = (4, 4, 1)
_FD = (4, 8, 4)
_ACCESS = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG
_HASH = NO_PREALLOC | NUMA_NODE | ZERO_SEED | _ACCESS
_PERCPU_HASH = _HASH & ~NUMA_NODE
_LRU = (_HASH & ~NO_PREALLOC) | NO_COMMON_LRU
_LRU_PERCPU = _LRU & ~NUMA_NODE
_ARRAY = NUMA_NODE | _ACCESS
_FD_ARRAY = NUMA_NODE | RDONLY | WRONLY
_STORAGE = NO_PREALLOC | CLONE
_BASIC = ("map_lookup_elem", "map_update_elem", "map_delete_elem")
_EACH = (*_BASIC, "for_each_map_elem")
_EACH_PERCPU = (*_EACH, "map_lookup_percpu_elem")
_RING = (
    "ringbuf_output", "ringbuf_reserve", "ringbuf_query", "ringbuf_reserve_dynptr", "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
)  # fmt: skip
_PERF = ("perf_event_read", "perf_event_output", "skb_output", "perf_event_read_value", "xdp_output")
_SOCK = ("sk_select_reuseport", "map_lookup_elem", "map_update_elem", "map_delete_elem")

# Marks: p per-CPU, l LRU, i inner maps, b BTF only, d direct value, s sleepable, n not in programs.
_ROWS = (
    (0, "unspec", (3, 18), _NONE, _NONE, "zero", 0, 0, "n", "", (), "no type: is never made"),
    (1, "hash", (3, 19), _ANY, _ANY, "count", _HASH, 0, "s", "ludnxLXUD", _EACH, "hash table"),
    (
        2, "array", (3, 19), _U32, _ANY, "count", _ARRAY | MMAPABLE | INNER_MAP, 0, "ds", "lunLUm", _EACH,
        "array of zeroed values; entries cannot be deleted",
    ),
    (
        3, "prog_array", (4, 2), _U32, _U32, "count", _FD_ARRAY, 0, "", "ludn", ("tail_call",),
        "programs to jump to; filled with descriptors, read as ids",
    ),
    (
        4, "perf_event_array", (4, 3), _U32, _U32, "count", _FD_ARRAY | PRESERVE_ELEMS, 0, "", "udn", _PERF,
        "perf events, one per CPU, to read counters or send records",
    ),
    (
        5, "percpu_hash", (4, 6), _ANY, _ANY, "count", _PERCPU_HASH, 0, "ps", "ludnxLXUD", _EACH_PERCPU,
        "hash table with a value for each CPU",
    ),
    (
        6, "percpu_array", (4, 6), _U32, _ANY, "count", _ACCESS, 0, "ps", "lunLU", _EACH_PERCPU,
        "array with a value for each CPU",
    ),
    (
        7, "stack_trace", (4, 6), _U32, (8, 0, 8), "count", NUMA_NODE | RDONLY | WRONLY | STACK_BUILD_ID, 0, "", "ldnx",
        ("get_stackid",), "stack traces by id; a value is an array of u64 addresses or bpf_stack_build_id",
    ),
    (
        8, "cgroup_array", (4, 8), _U32, _U32, "count", _FD_ARRAY, 0, "", "udn",
        ("skb_under_cgroup", "current_task_under_cgroup"), "cgroups to test membership of",
    ),
    (9, "lru_hash", (4, 10), _ANY, _ANY, "count", _LRU, 0, "ls", "ludnxLXUD", _EACH,
     "hash table that evicts the least recently used entry"),
    (10, "lru_percpu_hash", (4, 10), _ANY, _ANY, "count", _LRU_PERCPU, 0, "pls", "ludnxLXUD", _EACH_PERCPU,
     "hash table with a value for each CPU that evicts the least recently used entry"),
    (
        11, "lpm_trie", (4, 11), (5, 260, 1), _ANY, "count", NO_PREALLOC | NUMA_NODE | _ACCESS, NO_PREALLOC, "",
        "ludnLUD",
        _BASIC, "longest-prefix match; a key is a u32 prefix length and 1 to 256 bytes of data",
    ),
    (
        12, "array_of_maps", (4, 12), _U32, _U32, "count", _FD_ARRAY, 0, "is", "ludnLU", ("map_lookup_elem",),
        "array of maps; filled with descriptors, read as ids",
    ),
    (
        13, "hash_of_maps", (4, 12), _ANY, _U32, "count", _HASH, 0, "is", "ludnLXUD", ("map_lookup_elem",),
        "hash table of maps; filled with descriptors, read as ids",
    ),
    (
        14, "devmap", (4, 14), _U32, _FD, "count", _FD_ARRAY, 0, "", "ludn", ("redirect_map", "map_lookup_elem"),
        "network devices to redirect to, by slot; a value is bpf_devmap_val",
    ),
    (
        15, "sockmap", (4, 14), _U32, _FD, "count", _FD_ARRAY, 0, "", "ludn",
        ("sk_redirect_map", "sock_map_update", "msg_redirect_map", *_SOCK), "sockets by slot",
    ),
    (
        16, "cpumap", (4, 15), _U32, _FD, "count", NUMA_NODE, 0, "", "ludn", ("redirect_map",),
        "CPUs to redirect packets to; a value is bpf_cpumap_val",
    ),
    (
        17, "xskmap", (4, 18), _U32, _U32, "count", _FD_ARRAY, 0, "", "udn", ("redirect_map", "map_lookup_elem"),
        "AF_XDP sockets to redirect packets to",
    ),
    (
        18, "sockhash", (4, 18), (1, 512, 1), _FD, "count", _FD_ARRAY, 0, "", "ludn",
        ("sk_redirect_hash", "sock_hash_update", "msg_redirect_hash", *_SOCK), "sockets by key",
    ),
    (
        19, "cgroup_storage", (4, 19), (8, 16, 8), _ANY, "zero", NUMA_NODE | _ACCESS, 0, "", "lun",
        ("get_local_storage",),
        "storage of a program attached to a cgroup; cgrp_storage replaces it",
    ),
    (
        20, "reuseport_sockarray", (4, 19), _U32, _FD, "count", _ARRAY, 0, "", "ludn", ("sk_select_reuseport",),
        "sockets of an SO_REUSEPORT group",
    ),
    (
        21, "percpu_cgroup_storage", (4, 20), (8, 16, 8), _ANY, "zero", NUMA_NODE | _ACCESS, 0, "p", "lun",
        ("get_local_storage",), "storage, for each CPU, of a program attached to a cgroup",
    ),
    (
        22, "queue", (4, 20), _NONE, _ANY, "count", _ARRAY, 0, "s", "lux",
        ("map_peek_elem", "map_pop_elem", "map_push_elem"), "first in, first out",
    ),
    (
        23, "stack", (4, 20), _NONE, _ANY, "count", _ARRAY, 0, "s", "lux",
        ("map_peek_elem", "map_pop_elem", "map_push_elem"), "last in, first out",
    ),
    (
        24, "sk_storage", (5, 2), _U32, _ANY, "zero", _STORAGE, NO_PREALLOC, "bs", "lud",
        ("sk_storage_get", "sk_storage_delete", "kptr_xchg"),
        "a value for each socket; user space names it by descriptor",
    ),
    (
        25, "devmap_hash", (5, 4), _U32, _FD, "count", _FD_ARRAY, 0, "", "ludn", ("redirect_map", "map_lookup_elem"),
        "network devices to redirect to, by any number; a value is bpf_devmap_val",
    ),
    (
        26, "struct_ops", (5, 6), _U32, _ANY, "one", LINK | VTYPE_BTF_OBJ_FD, 0, "bn", "ludn", (),
        "an implementation of a kernel struct of function pointers",
    ),
    (27, "ringbuf", (5, 8), _NONE, _NONE, "bytes", NUMA_NODE | RB_OVERWRITE, 0, "s", "me", _RING,
     "records from programs to user space, in order, shared by all CPUs"),
    (
        28, "inode_storage", (5, 10), _U32, _ANY, "zero", _STORAGE, NO_PREALLOC, "bs", "lud",
        ("inode_storage_get", "inode_storage_delete", "kptr_xchg"),
        "a value for each inode; user space names it by descriptor",
    ),
    (
        29, "task_storage", (5, 11), _U32, _ANY, "zero", _STORAGE, NO_PREALLOC, "bs", "lud",
        ("task_storage_get", "task_storage_delete", "kptr_xchg"), "a value for each task; user space names it by pidfd",
    ),
    (
        30, "bloom_filter", (5, 16), _NONE, _ANY, "count", NUMA_NODE | ZERO_SEED | _ACCESS, 0, "", "lu",
        ("map_peek_elem", "map_push_elem"), "set membership with false positives",
        "number of hash functions, 1 to 15 (0: 5)",
    ),
    (31, "user_ringbuf", (6, 1), _NONE, _NONE, "bytes", NUMA_NODE, 0, "s", "me", ("user_ringbuf_drain",),
     "records from user space to programs"),
    (
        32, "cgrp_storage", (6, 2), _U32, _ANY, "zero", _STORAGE, NO_PREALLOC, "bs", "lud",
        ("cgrp_storage_get", "cgrp_storage_delete", "kptr_xchg"),
        "a value for each cgroup; user space names it by descriptor",
    ),
    (
        33, "arena", (6, 9), _NONE, _NONE, "pages", SEGV_ON_FAULT | MMAPABLE | NO_USER_CONV, MMAPABLE, "ds", "m", (),
        "memory shared by programs and user space", "address that user space maps it at (0: any)",
    ),
    (
        34, "insn_array", (6, 19), _U32, (16, 16, 1), "count", 0, 0, "ds", "lun", (),
        "where a program's instructions ended up; a value is bpf_insn_array_value",
    ),
    (
        35, "rhash", (7, 2), _ANY, _ANY, "count", NO_PREALLOC | _ACCESS, NO_PREALLOC, "s", "ludnxLXUD", _EACH,
        "hash table that grows and shrinks", "initial size hint (0: default)",
    ),
)  # fmt: skip

TABLE = Table(
    "map type", "ABI005", "BPF_MAP_TYPE_", _ROWS, MapType,
    {
        "cgroup_storage_deprecated": "cgroup_storage",
        "percpu_cgroup_storage_deprecated": "percpu_cgroup_storage",
        "BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED": "cgroup_storage",
        "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED": "percpu_cgroup_storage",
    },
)  # fmt: skip


def map_type(key: str | int) -> MapType:
    """The map type of a name (``percpu_hash``, ``BPF_MAP_TYPE_PERCPU_HASH``) or number.

    :raises UsageError: ABI005 when there is none.
    """
    row: MapType = TABLE.get(key)
    return row


def number(name: str) -> int:
    """The number of a map type's name."""
    return TABLE.number(name)


def map_types() -> Iterator[MapType]:
    """All map types in the order of their numbers, ``unspec`` first."""
    return iter(TABLE)
