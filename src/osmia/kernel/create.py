"""Making maps from specs: sizes and flags that the kernel wants, inner maps, type information, pins."""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.abi import map_types
from osmia.diagnostics.errors import LoadError
from osmia.kernel import release, syscall
from osmia.kernel.maps.base import Map, make, read_info
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.object.spec import MapSpec

DEFAULT_RING_BYTES = 1 << 20
"""Size of a ring buffer whose spec leaves it open."""

# Kinds whose keys and values the kernel takes no BTF types for.
_NO_BTF = frozenset(
    ("perf_event_array", "cgroup_array", "stack_trace", "array_of_maps", "hash_of_maps", "devmap", "devmap_hash",
     "cpumap", "xskmap", "sockmap", "sockhash", "reuseport_sockarray", "prog_array", "ringbuf", "user_ringbuf",
     "queue", "stack", "bloom_filter", "arena", "insn_array")
)  # fmt: skip
_INNER = ("array_of_maps", "hash_of_maps")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def create_map(
    spec: MapSpec, *, btf_fd: int = 0, entries: int = 0, ring_bytes: int = DEFAULT_RING_BYTES, contents: bool = True
) -> Map:
    """A live map as its spec describes it, with its initial contents (but for names of programs and maps) and frozen
    if it says so. A spec with a ``pin`` opens what is pinned there, or pins the new map.

    :param btf_fd: descriptor of the collection's BTF, 0 for none.
    :param entries: instead of the spec's ``max_entries``.
    :param ring_bytes: size of a ring buffer that has none. :param contents: put the initial contents in.
    :raises LoadError: KRN017 (settings), KRN013 (kind not known to this kernel), KRN005 (memory), KRN024 (the pinned
        map is another), permission errors. :raises UsageError: ABI005 for an unknown kind.
    """
    if spec.pin:
        found = _pinned(spec, entries)
        if found is not None:
            return found
    inner_fd = -1
    template: Map | None = None
    if spec.kind in _INNER:
        if spec.inner is None:
            raise LoadError(
                "KRN017",
                f"map '{clean(spec.name)}' of kind {spec.kind} does not say what its inner maps are",
                hint="give it the spec of an inner map",
            )
        template = create_map(spec.inner, btf_fd=btf_fd, ring_bytes=ring_bytes, contents=False)
        inner_fd = template.fd
    try:
        map_ = _create(spec, btf_fd, entries, ring_bytes, inner_fd)
    finally:
        if template is not None:
            template.close()
    try:
        if contents:
            fill(map_, spec)
        if spec.pin:
            map_.pin(spec.pin)
    except BaseException:
        map_.close()
        raise
    return map_


def fill(map_: Map, spec: MapSpec) -> None:
    """Puts the initial contents that are bytes into a new map, and freezes it if the spec says so."""
    calls: syscall.MapCalls | None = None
    for key, value in spec.contents:
        if isinstance(value, str):
            continue
        calls = calls or syscall.MapCalls(map_.fileno(), map_.key_size, map_.user_value_size)
        if len(key) != map_.key_size or len(value) not in (map_.user_value_size, map_.value_size):
            raise LoadError(
                "KRN017",
                f"the initial contents of map '{clean(spec.name)}' do not fit: {len(key)} and {len(value)} bytes "
                f"for a key of {map_.key_size} and a value of {map_.value_size}",
            )
        data = value
        if len(value) != map_.user_value_size:
            data = value.ljust(map_.value_stride, b"\0") * (map_.user_value_size // map_.value_stride)
        calls.key[:], calls.value[:] = key, data
        result = calls.update()
        if result:
            map_._failed(-result, "put initial contents into")
    if spec.frozen and release.has((5, 2)):
        map_.freeze()


def _create(spec: MapSpec, btf_fd: int, entries: int, ring_bytes: int, inner_fd: int) -> Map:
    row = map_types.map_type(spec.kind)
    count = _entries(row, spec, entries, ring_bytes)
    flags = spec.flags | row.required | (map_types.NUMA_NODE if spec.numa_node else 0)
    if spec.section and spec.kind == "array":
        flags |= _section_flags(spec)
    own_btf = -1
    key_btf, value_btf = spec.key_btf, spec.value_btf
    if spec.kind in _NO_BTF or not (key_btf or value_btf):
        btf_fd = key_btf = value_btf = 0
    if row.btf_only and not btf_fd and spec.kind != "struct_ops":
        btf_fd = own_btf = _plain_btf(spec.value_size)
        key_btf, value_btf = 1, 4
    try:
        fd = syscall.map_create(
            row.number, spec.key_size, spec.value_size, count, flags, inner_fd=max(inner_fd, 0),
            numa_node=spec.numa_node, name=syscall.object_name(spec.name), btf_fd=btf_fd, btf_key=key_btf,
            btf_value=value_btf, extra=spec.extra,
        )  # fmt: skip
    except OSError as error:
        raise _refused(row, spec, count, flags, error) from None
    finally:
        if own_btf >= 0:
            os.close(own_btf)
    map_ = make(fd, spec)
    map_.max_entries, map_.flags = count, flags
    return map_


def _entries(row: map_types.MapType, spec: MapSpec, entries: int, ring_bytes: int) -> int:
    count = entries or spec.max_entries
    if row.entries == "bytes":
        count = count or ring_bytes
        size = _PAGE
        while size < count and size < 1 << 31:
            size *= 2
        return size if not spec.max_entries or entries else count
    if spec.kind == "perf_event_array" and not count:
        from osmia.kernel.cpu import possible_count

        return possible_count()
    return count


def _section_flags(spec: MapSpec) -> int:
    flags = map_types.MMAPABLE if release.has((5, 5)) else 0
    if spec.frozen and release.has((5, 2)):
        flags |= map_types.RDONLY_PROG  # with the freeze, the verifier takes the values for constants
    return flags


def _plain_btf(value_size: int) -> int:
    """BTF that says no more than: keys are u32, values are bytes. Local storage cannot be made without any."""
    strings = b"\0u32\0u8\0"
    types = pack("=IIII", 1, 1 << 24, 4, 32)  # 1: u32
    types += pack("=IIII", 5, 1 << 24, 1, 8)  # 2: u8
    types += pack("=III", 0, 3 << 24, 0) + pack("=III", 2, 1, value_size)  # 3: u8[value_size]
    types += pack("=IIIIII", 0, 4 << 24 | 1, value_size, 0, 3, 0)  # 4: struct of that
    header = pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    fd = syscall.btf_load(header + types + strings)
    if fd < 0:
        raise LoadError("KRN018", f"the kernel refused type information for a map: {os.strerror(-fd)}", errno=-fd)
    return fd


def _pinned(spec: MapSpec, entries: int) -> Map | None:
    if not os.path.lexists(spec.pin):
        return None
    from osmia.kernel import pins

    fd = pins.open_pin(spec.pin, "map")
    try:
        info = read_info(fd)
        row = map_types.map_type(spec.kind)
        facts = (
            ("kind", info.kind, row.name),
            ("key size", info.key_size, spec.key_size),
            ("value size", info.value_size, spec.value_size),
            ("max_entries", info.max_entries, entries or spec.max_entries or info.max_entries),
        )
        for what, have, want in facts:
            if have != want:
                raise LoadError(
                    "KRN024",
                    f"{clean(spec.pin)} is pinned already with another {what}: {have}, not {want}",
                    errno=errno.EEXIST,
                    hint="remove that pin if nobody needs it, or pin this map under another name",
                )
    except BaseException:
        os.close(fd)
        raise
    return make(fd, spec, info)


def _refused(row: map_types.MapType, spec: MapSpec, count: int, flags: int, error: OSError) -> LoadError:
    from osmia.kernel import refusals

    number = error.errno or 0
    what = f"cannot create map '{clean(spec.name)}'"
    if number == errno.EPERM:
        return refusals.not_permitted(what, ("bpf",) if row.name not in _NEED_NET_ADMIN else ("bpf", "net_admin"))
    if number == errno.ENOMEM:
        return refusals.no_memory(what, f"{count} entries of {spec.key_size} and {spec.value_size} bytes")
    if number in (errno.EINVAL, errno.E2BIG, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBUSY, 524):
        if not release.has(row.version):
            return refusals.too_old("KRN013", f"{what}: map type {row.name}", row.version, number)
        problems = row.problems(spec.key_size, spec.value_size, count, flags, spec.extra, _PAGE)
        if problems:
            return LoadError(
                "KRN017", f"{what} ({row.name}): {problems[0]}", errno=number, notes=[(p, None) for p in problems[1:]]
            )
        if number == errno.E2BIG:
            return LoadError(
                "KRN017",
                f"{what} ({row.name}): {count} entries of {spec.key_size} and {spec.value_size} bytes are too much",
                errno=number,
                hint="lower max_entries",
            )
        return LoadError(
            "KRN017",
            f"{what}: the kernel refuses these settings for {row.name}",
            errno=number,
            hint=f"key {spec.key_size} bytes, value {spec.value_size} bytes, {count} entries, flags {flags:#x}"
            + (f", key type {spec.key_btf}, value type {spec.value_btf} of the BTF" if spec.value_btf else ""),
        )
    return refusals.unexpected(what, error)


_NEED_NET_ADMIN = frozenset(("sockmap", "sockhash", "devmap", "devmap_hash", "xskmap", "reuseport_sockarray"))
