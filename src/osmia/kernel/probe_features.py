"""Probing features: each row of ``abi.kernel_versions`` names the probe that tells for the kernel at hand."""

from __future__ import annotations

import errno
import os
from struct import pack, pack_into

from osmia.abi import commands
from osmia.kernel import refusals, release, syscall
from osmia.kernel.probe_hooks import asked, hooks
from osmia.kernel.probe_maps import MapMaker, map_type
from osmia.kernel.probe_programs import ENOTSUPP, EXIT, SLEEPABLE, Loader, constant, helper_rows, insn, program_type
from osmia.kernel.probe_rows import FEATURE, NO, UNKNOWN, Row, absent, answered, config, yes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from osmia.abi.kernel_versions import Feature

_NO_FD = 0xFFFFFFFF
_NAME = b"osmia_probe"
_XDP_HAS_FRAGS = 1 << 5
_PROG_ATTR_SIZE = 168

# Hooks that stand for attach types, and for features by their own names.
_HOOKS = {
    "trace_raw_tp": "btf_tracepoint", "trace_fentry": "fentry", "modify_return": "fmod_ret",
    "trace_fsession": "fsession", "lsm_cgroup": "lsm_cgroup", "trace_iter": "iter",
    "trace_kprobe_multi": "kprobe_multi", "trace_uprobe_multi": "uprobe_multi",
    "trace_kprobe_session": "kprobe_session", "trace_uprobe_session": "uprobe_session", "tcx_ingress": "tcx",
    "netkit_primary": "netkit", "cgroup_unix_connect": "cgroup connect_unix",
}  # fmt: skip
_OWN_HOOKS = {"clsact": "clsact", "generic_xdp": "xdp", "netfilter": "netfilter"}
_LINKS = {"xdp": "xdp_link", "netns": "sk_lookup"}


class Features:
    """Runs the probes; holds what several of them need. Close it.

    :param rows: rows of hooks that are known already, by name.
    """

    def __init__(self, loader: Loader, rows: Sequence[Row] = ()) -> None:
        self.loader = loader
        self.maker = MapMaker(loader)
        self._hooks = {row.name: row for row in rows}
        self._helpers: dict[str, dict[str, Row]] = {}

    def close(self) -> None:
        """Closes what is shared."""
        self.maker.close()

    def run(self, feature: Feature) -> Row:
        """The row of a feature."""
        row = _KINDS[feature.probe](self, feature)
        return Row(FEATURE, feature.name, row.status, feature.version, row.reason, row.remedy, row.cause)

    def hook(self, name: str) -> Row:
        """The row of a hook."""
        if not self._hooks:
            self._hooks = {row.name: row for row in hooks(self.loader)}
        return self._hooks[name]

    def helper(self, name: str) -> Row:
        """The best row of a helper among the program types that may call it."""
        from osmia.abi import helpers

        row = helpers.helper(name)
        found: Row | None = None
        for kind in row.prog_types:
            if kind not in self._helpers:
                self._helpers[kind] = {one.name: one for one in helper_rows(self.loader, kind)}
            one = self._helpers[kind].get(row.name)
            if one is not None and (one.ok or found is None):
                found = one
            if found is not None and found.ok:
                break
        return found or absent(FEATURE, name, row.version)

    def loads(
        self,
        feature: Feature,
        code: bytes,
        kind: str = "socket_filter",
        *,
        flags: int = 0,
        words: str = "",
        attach: str = "",
    ) -> Row:
        """Whether a program loads; ``words`` in the verifier's log are as good."""
        number, log = self.loader.load(kind, attach, code, flags=flags, log=bool(words))
        if number and words and words in log:
            number = 0
        return self.answer(feature, number, needs=refusals.needs_of(kind), kind=kind)

    def answer(
        self, feature: Feature, number: int, good: Sequence[int] = (), needs: Sequence[str] = ("bpf",), kind: str = ""
    ) -> Row:
        """The row for an answer of the kernel."""
        return answered(
            FEATURE, feature.name, feature.version, number, what=f"cannot try {feature.name}", needs=needs, good=good,
            kind=kind,
        )  # fmt: skip

    def command(self, feature: Feature, number: int, attr: bytes, good: Sequence[int], needs: Sequence[str]) -> Row:
        """Whether a command of bpf(2) is known: with these attributes it complains about them."""

        def ask(_: int) -> None:
            syscall.bpf(number, bytearray(attr))

        return self.answer(feature, asked(ask, 0), good, needs)


def features(loader: Loader, rows: Sequence[Row] = ()) -> list[Row]:
    """A row per feature. :param rows: rows of hooks that are known already."""
    from osmia.abi import kernel_versions

    probes = Features(loader, rows)
    try:
        return [probes.run(feature) for feature in kernel_versions.features()]
    finally:
        probes.close()


# Kinds of probes that other rows answer


def _map_type(probes: Features, feature: Feature) -> Row:
    from osmia.abi import map_types

    return map_type(probes.maker, map_types.map_type(feature.subject))


def _prog_type(probes: Features, feature: Feature) -> Row:
    from osmia.abi import prog_types

    return program_type(probes.loader, prog_types.prog_type(feature.subject))


def _attach_type(probes: Features, feature: Feature) -> Row:
    if feature.subject == "struct_ops":  # a link is made of a map that was made for it
        from osmia.abi import map_types

        row = map_types.map_type("struct_ops")
        return _made(probes, feature, lambda: probes.maker.make(row, flags=map_types.LINK))
    return probes.hook(_HOOKS[feature.subject])


def _helper(probes: Features, feature: Feature) -> Row:
    return probes.helper(feature.subject)


def _made(probes: Features, feature: Feature, make: Callable[[], int]) -> Row:
    return probes.answer(feature, asked(lambda _: make(), 0))


# Commands, flags and links


def _command(probes: Features, feature: Feature) -> Row:
    name = feature.subject
    number = commands.command(name).number
    bad = (errno.EBADF,)
    if name == "map_create":
        from osmia.abi import map_types

        return _made(probes, feature, lambda: probes.maker.make(map_types.map_type("array")))
    if name == "prog_get_next_id":
        return probes.command(feature, number, pack("=III", 0, 0, 0), (errno.ENOENT,), ("sys_admin",))
    if name == "enable_stats":
        return probes.answer(feature, asked(lambda _: syscall.enable_stats(), 0), needs=("sys_admin",))
    if name == "btf_load":
        return _btf_kind(probes, feature, "int")
    if name == "obj_pin":
        return _pin(probes, feature, b"")
    attr = {
        "prog_test_run": pack("=II", _NO_FD, 0).ljust(64, b"\0"),
        "map_freeze": pack("=I", _NO_FD),
        "map_lookup_batch": pack("=QQQQIIQQ", 0, 0, 0, 0, 0, _NO_FD, 0, 0),
        "map_lookup_and_delete_elem": pack("=IIQQQ", _NO_FD, 0, 0, 0, 0),
        "prog_query": pack("=II", _NO_FD, 0).ljust(32, b"\0"),
        "link_create": pack("=IIII", _NO_FD, 0, 0, 0),
        "token_create": pack("=II", 0, _NO_FD),
        "prog_stream_read_by_fd": pack("=QIII", 0, 0, 1, _NO_FD),
    }[name]
    return probes.command(feature, number, attr, bad, ("net_admin",) if name == "prog_query" else ("bpf",))


def _pin(probes: Features, feature: Feature, tail: bytes) -> Row:
    """Asks to pin a map in a folder that does not exist."""
    from osmia.abi import map_types

    path = bytearray(b"/osmia/no/such/folder\0")

    def ask(_: int) -> None:
        fd = probes.maker.make(map_types.map_type("array"))
        try:
            syscall.bpf(commands.OBJ_PIN, bytearray(pack("=QI", syscall.address(path), fd) + tail))
        finally:
            os.close(fd)

    return probes.answer(feature, asked(ask, 0), (errno.ENOENT, errno.EBADF))


def _map_flag(probes: Features, feature: Feature) -> Row:
    from osmia.abi import map_types

    if feature.subject == "PATH_FD":
        if not release.has(feature.version):
            return absent(FEATURE, feature.name, feature.version)
        return _pin(probes, feature, pack("=Ii", map_types.PATH_FD, -1))
    kinds = {"STACK_BUILD_ID": "stack_trace", "RB_OVERWRITE": "ringbuf"}
    row = map_types.map_type(kinds.get(feature.subject, "array"))
    flag = next(value for name, value, _ in map_types.FLAGS if name == feature.subject)
    if feature.subject == "STACK_BUILD_ID":
        make = pack("=7I16s", row.number, 4, 32, 1, flag, 0, 0, _NAME)
        return probes.answer(feature, asked(lambda _: syscall.bpf(commands.MAP_CREATE, bytearray(make)), 0))
    return _made(probes, feature, lambda: probes.maker.make(row, flags=flag))


def _load_flag(probes: Features, feature: Feature) -> Row:
    if feature.subject == "BPF_F_XDP_HAS_FRAGS":
        return probes.loads(feature, constant(2), "xdp", flags=_XDP_HAS_FRAGS)
    best: Row | None = None
    for kind, attach in (("kprobe", ""), ("syscall", ""), ("tracing", "trace_iter"), ("tracing", "trace_fentry")):
        row = probes.loads(feature, constant(0), kind, flags=SLEEPABLE, attach=attach)
        if row.ok:
            return row
        best = row if best is None or best.status == NO else best
    return best or absent(FEATURE, feature.name, feature.version)


def _link_type(probes: Features, feature: Feature) -> Row:
    if feature.subject in _LINKS:
        return probes.hook(_LINKS[feature.subject])
    if feature.subject == "perf_event":
        return _perf_link(probes, feature)
    if feature.subject == "sockmap":
        return _socket_map_link(probes, feature)
    number, _ = probes.loader.load("tracing", "trace_fentry_multi", target="bpf_fentry_test1")
    return probes.answer(feature, number, needs=refusals.needs_of("tracing"))


def _perf_link(probes: Features, feature: Feature) -> Row:
    from osmia.abi import attach_types

    number = attach_types.number("perf_event")
    fd, _ = probes.loader.open("perf_event")
    if fd < 0:
        return probes.answer(feature, -fd, needs=("bpf", "perfmon"))
    event = -1
    try:
        software, clock = 1, 0
        event = syscall.perf_event_open(syscall.perf_attr(software, clock, period=1 << 30), 0, -1)
        answer = asked(lambda prog: syscall.link_create(prog, event, number), fd)
    except OSError as error:
        answer = error.errno or 0
    finally:
        os.close(fd)
        if event >= 0:
            os.close(event)
    return probes.answer(feature, answer, needs=("bpf", "perfmon"))


def _socket_map_link(probes: Features, feature: Feature) -> Row:
    from osmia.abi import attach_types, map_types

    number = attach_types.number("sk_msg_verdict")
    fd, _ = probes.loader.open("sk_msg", "sk_msg_verdict")
    if fd < 0:
        return probes.answer(feature, -fd, needs=("bpf", "net_admin"))

    def ask(prog: int) -> int:
        sockets = probes.maker.make(map_types.map_type("sockmap"))
        try:
            return syscall.link_create(prog, sockets, number)
        finally:
            os.close(sockets)

    try:
        return probes.answer(feature, asked(ask, fd), needs=("bpf", "net_admin"))
    finally:
        os.close(fd)


# Instructions

_R0_ZERO = insn(0xB7, 0)
_SLOT_ZERO = insn(0x7A, 10, 0, -8)  # *(u64 *)(r10 - 8) = 0
_INSTRUCTIONS = {
    "call_local": insn(0x85, 0, 1, 0, 1) + EXIT + constant(0),
    "jlt": _R0_ZERO + insn(0xA5, 0, 0, 0, 1) + EXIT,
    "jmp32": _R0_ZERO + insn(0x16, 0, 0, 0, 1) + EXIT,
    "atomic_fetch_add": _SLOT_ZERO + insn(0xB7, 1, imm=1) + insn(0xDB, 10, 1, -8, 1) + constant(0),
    "sdiv": insn(0xB7, 0, imm=4) + insn(0x37, 0, 0, 1, 2) + EXIT,
    "may_goto": _R0_ZERO + insn(0xE5, 0, 0, 1, 0) + insn(0xB7, 0, imm=1) + EXIT,
    "addr_space_cast": insn(0xB7, 1) + insn(0xBF, 1, 1, 1, 1) + constant(0),
    "load_acquire": _SLOT_ZERO + insn(0xDB, 0, 10, -8, 0x100) + EXIT,
}


def _instruction(probes: Features, feature: Feature) -> Row:
    # Pointers into arenas are for programs that have one; the kernel that says so knows them.
    words = "addr_space_cast insn can only be used" if feature.subject == "addr_space_cast" else ""
    return probes.loads(feature, _INSTRUCTIONS[feature.subject], words=words)


# Type information


def _btf_kind(probes: Features, feature: Feature, kind: str) -> Row:
    from osmia.btf import types as btf
    from osmia.btf.writer import BtfBuilder

    builder = BtfBuilder()
    number = builder.add(btf.Int("int", 4, btf.INT_SIGNED))
    if kind in ("func", "func_global"):
        proto = builder.add(btf.FuncProto(number))
        builder.add(btf.Func("f", proto, 1 if kind == "func_global" else 0))
    elif kind == "datasec":
        variable = builder.add(btf.Var("v", number))
        builder.add(btf.DataSec(".data", 4, [btf.SecEntry(variable, 0, 4)]))
    elif kind == "float":
        builder.add(btf.Float("float", 4))
    elif kind == "decl_tag":
        builder.add(btf.DeclTag("tag", builder.add(btf.Var("v", number))))
    elif kind == "type_tag":
        builder.add(btf.Ptr(builder.add(btf.TypeTag("tag", number))))
    elif kind == "enum64":
        builder.add(btf.Enum64("e", 8, [btf.Enumerator("A", 1 << 40)]))
    fd = syscall.btf_load(builder.to_bytes())
    if fd >= 0:
        os.close(fd)
    return probes.answer(feature, max(-fd, 0))


def _btf_load(probes: Features, feature: Feature) -> Row:
    return _btf_kind(probes, feature, feature.subject)


def _with_functions(
    probes: Features, feature: Feature, code: bytes, slots: Sequence[int], linkage: int = 0, lines: bool = False
) -> Row:
    """Loads a program with records of its functions, and of its lines.

    :param slots: where the functions begin. :param linkage: of those after the first.
    """
    from osmia.btf import types as btf
    from osmia.btf.writer import BtfBuilder

    builder = BtfBuilder()
    proto = builder.add(btf.FuncProto(builder.add(btf.Int("int", 4, btf.INT_SIGNED))))
    ids = [builder.add(btf.Func(f"f{slot}", proto, linkage if slot else 0)) for slot in slots]
    text = builder.string("probe.py")
    blob = syscall.btf_load(builder.to_bytes())
    if blob < 0:
        return probes.answer(feature, -blob)
    try:
        number, _ = probes.loader.load(
            "socket_filter", "", code, btf_fd=blob,
            func_info=b"".join(pack("=II", slot, type_id) for slot, type_id in zip(slots, ids, strict=True)),
            line_info=pack("=IIII", 0, text, text, 1 << 10) if lines else b"",
        )  # fmt: skip
    finally:
        os.close(blob)
    return probes.answer(feature, number)


def _btf_type(probes: Features, feature: Feature) -> Row:
    from osmia.diagnostics.errors import BtfError

    types = probes.loader.btf()
    if types is None:
        return Row(
            FEATURE, feature.name, UNKNOWN, feature.version, "the kernel offers no type information to look it up in",
            "run a kernel with CONFIG_DEBUG_INFO_BTF=y",
        )  # fmt: skip
    found = bool(types.ids_by_name(feature.subject))
    if not found:
        try:
            found = bool(types.find_enumerators(feature.subject))
        except BtfError:
            found = False
    if found:
        return yes(FEATURE, feature.name, feature.version)
    return absent(
        FEATURE, feature.name, feature.version, options=_TYPE_OPTIONS.get(feature.name, ()),
        reason=f"the kernel's types hold no {feature.subject}" if release.has(feature.version) else "",
    )  # fmt: skip


_TYPE_OPTIONS = {"sched_ext": ("CONFIG_SCHED_CLASS_EXT",)}


# Things to look up

_FILE_OPTIONS = {
    "vmlinux_btf": ("CONFIG_DEBUG_INFO_BTF",),
    "perf_kprobe_pmu": ("CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS"),
    "perf_uprobe_pmu": ("CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS"),
    "usdt_semaphores": ("CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS"),
}


def _file(probes: Features, feature: Feature) -> Row:
    if feature.name == "module_btf":
        off = config.missing(("CONFIG_MODULES", "CONFIG_DEBUG_INFO_BTF_MODULES"))
        if off:
            return absent(FEATURE, feature.name, feature.version, options=(off,))
    if os.path.exists(feature.subject) and (feature.name != "module_btf" or release.has(feature.version)):
        return yes(FEATURE, feature.name, feature.version)
    return absent(
        FEATURE, feature.name, feature.version, options=_FILE_OPTIONS.get(feature.name, ()),
        reason=f"{feature.subject} does not exist",
    )  # fmt: skip


def _capability(probes: Features, feature: Feature) -> Row:
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            last = int(file.read())
    except (OSError, ValueError):
        return _by_version(probes, feature)
    if last >= int(feature.subject):
        return yes(FEATURE, feature.name, feature.version)
    return absent(FEATURE, feature.name, feature.version)


def _config(probes: Features, feature: Feature) -> Row:
    return probes.hook(_OWN_HOOKS[feature.name])


def _by_version(probes: Features, feature: Feature) -> Row:
    """What cannot be tried without side effects."""
    if not release.has(feature.version):
        return absent(FEATURE, feature.name, feature.version)
    return Row(
        FEATURE, feature.name, UNKNOWN, feature.version, "not tried; by its version this kernel has it",
        "load a program that uses it",
    )  # fmt: skip


# Programs


def _program(probes: Features, feature: Feature) -> Row:
    return _PROGRAMS.get(feature.subject, _by_version)(probes, feature)


def _raw_program(
    probes: Features, feature: Feature, fields: Sequence[tuple[int, str, int]], good: Sequence[int]
) -> Row:
    """Loads a program with further attributes; a kernel that does not know them answers ``E2BIG``."""
    code, text = bytearray(constant(0)), bytearray(b"GPL\0")
    attr = bytearray(_PROG_ATTR_SIZE)
    pack_into("=IIQQ", attr, 0, 1, len(code) // 8, syscall.address(code), syscall.address(text))
    for offset, form, value in fields:
        pack_into(form, attr, offset, value)
    return probes.answer(feature, asked(lambda _: syscall.bpf(commands.PROG_LOAD, attr), 0), good)


def _name(probes: Features, feature: Feature) -> Row:
    return _raw_program(probes, feature, ((48, "=8s", b"osmia_p"),), ())  # type: ignore[arg-type]


def _core(probes: Features, feature: Feature) -> Row:
    return _raw_program(probes, feature, ((136, "=I", 16),), ())


def _array_count(probes: Features, feature: Feature) -> Row:
    fds = bytearray(pack("=i", -1))
    fields = ((120, "=Q", syscall.address(fds)), (148, "=I", 1))
    return _raw_program(probes, feature, fields, (errno.EBADF,))


def _signature(probes: Features, feature: Feature) -> Row:
    data = bytearray(8)
    fields = ((152, "=Q", syscall.address(data)), (160, "=I", len(data)))
    good = (errno.EINVAL, errno.EBADMSG, errno.EKEYREJECTED, errno.ENOKEY, errno.EOPNOTSUPP, errno.ENOPKG)
    return _raw_program(probes, feature, fields, good)


def _true_size(probes: Features, feature: Feature) -> Row:
    log = bytearray(4096)
    result, size = syscall.prog_load(1, constant(0), "GPL", log_level=1, log=log)
    if result < 0:
        return probes.answer(feature, -result)
    os.close(result)
    return yes(FEATURE, feature.name, feature.version) if size else absent(FEATURE, feature.name, feature.version)


def _large(probes: Features, feature: Feature) -> Row:
    return probes.loads(feature, _R0_ZERO * 4096 + EXIT)


def _bounded_loop(probes: Features, feature: Feature) -> Row:
    return probes.loads(feature, _R0_ZERO + insn(0x07, 0, imm=1) + insn(0xA5, 0, 0, -2, 10) + EXIT)


def _map_value(probes: Features, feature: Feature) -> Row:
    def load(fd: int) -> Row:
        return probes.loads(feature, insn(0x18, 1, 2, 0, fd) + insn(0) + constant(0))

    return _with_map(probes, feature, "array", load)


def _tail_call(probes: Features, feature: Feature) -> Row:
    """A function may only do so when its type says that it returns an ``int``."""

    def load(fd: int) -> Row:
        function = insn(0x18, 2, 1, 0, fd) + insn(0) + insn(0xB7, 3) + insn(0x85, imm=12) + constant(0)
        return _with_functions(probes, feature, insn(0x85, 0, 1, 0, 1) + EXIT + function, (0, 2))

    return _with_map(probes, feature, "prog_array", load)


def _with_map(probes: Features, feature: Feature, kind: str, load: Callable[[int], Row]) -> Row:
    from osmia.abi import map_types

    try:
        fd = probes.maker.make(map_types.map_type(kind))
    except OSError as error:
        return probes.answer(feature, error.errno or 0)
    try:
        return load(fd)
    finally:
        os.close(fd)


def _take_from_hash(probes: Features, feature: Feature) -> Row:
    from osmia.abi import map_types

    try:
        fd = probes.maker.make(map_types.map_type("hash"))
    except OSError as error:
        return probes.answer(feature, error.errno or 0)
    try:
        number = -syscall.MapCalls(fd, 1, 1).lookup_and_delete()
    finally:
        os.close(fd)
    return probes.answer(feature, ENOTSUPP if number in (errno.ENOTSUP, ENOTSUPP) else number, (errno.ENOENT,))


def _exclusive(probes: Features, feature: Feature) -> Row:
    digest = bytearray(32)
    attr = pack("=7I16s5IQIIQI", 2, 4, 4, 1, 0, 0, 0, _NAME, 0, 0, 0, 0, 0, 0, 0, 0, syscall.address(digest), 32)
    answer = asked(lambda _: syscall.bpf(commands.MAP_CREATE, bytearray(attr.ljust(96, b"\0"))), 0)
    return probes.answer(feature, answer)


def _sleepable_uprobe(probes: Features, feature: Feature) -> Row:
    return probes.loads(feature, constant(0), "kprobe", flags=SLEEPABLE)


def _raw_cookie(probes: Features, feature: Feature) -> Row:
    fd, _ = probes.loader.open("raw_tracepoint")
    if fd < 0:
        return probes.answer(feature, -fd, needs=("bpf", "perfmon"))
    try:
        answer = asked(lambda prog: syscall.raw_tracepoint_open(prog, "osmia_no_such_tracepoint", 1), fd)
    finally:
        os.close(fd)
    return probes.answer(feature, answer, (errno.ENOENT,))


def _packet_access(probes: Features, feature: Feature) -> Row:
    data, data_end = 76, 80  # of struct __sk_buff
    code = insn(0x61, 2, 1, data) + insn(0x61, 3, 1, data_end) + insn(0xBF, 4, 2) + insn(0x07, 4, imm=1)
    code += _R0_ZERO + insn(0x2D, 4, 3, 1) + insn(0x71, 0, 2) + EXIT
    return probes.loads(feature, code, "sched_cls")


_PROGRAMS: dict[str, Callable[[Features, Feature], Row]] = {
    "name": _name,
    "func_info": lambda probes, feature: _with_functions(probes, feature, constant(0), (0,)),
    "line_info": lambda probes, feature: _with_functions(probes, feature, constant(0), (0,), lines=True),
    "global_function": lambda probes, feature: _with_functions(
        probes, feature, _INSTRUCTIONS["call_local"], (0, 2), linkage=1
    ),
    "core_relo": _core,
    "fd_array_cnt": _array_count,
    "signature": _signature,
    "log_true_size": _true_size,
    "tail_call_in_function": _tail_call,
    "large": _large,
    "bounded_loop": _bounded_loop,
    "map_value": _map_value,
    "lookup_and_delete_hash": _take_from_hash,
    "excl_prog_hash": _exclusive,
    "sleepable_uprobe": _sleepable_uprobe,
    "raw_tracepoint_cookie": _raw_cookie,
    "packet_access": _packet_access,
}
_KINDS: dict[str, Callable[[Features, Feature], Row]] = {
    "map_type": _map_type, "prog_type": _prog_type, "attach_type": _attach_type, "helper": _helper,
    "command": _command, "map_flag": _map_flag, "load_flag": _load_flag, "link_type": _link_type,
    "instruction": _instruction, "program": _program, "btf_load": _btf_load, "btf_type": _btf_type, "kfunc": _btf_type,
    "file": _file, "capability": _capability, "config": _config,
}  # fmt: skip
