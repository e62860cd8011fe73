"""Write ``src/osmia/abi/_context_rows.py``: context and record structs with their fields.

Run as root on a kernel with BTF (6.18 was used): ``python scripts/abi/make_contexts.py``. Layouts come from BTF; who may
read or write which field, and what the verifier takes a loaded field for, is asked of the verifier.
"""

# ruff: noqa: E501
from __future__ import annotations

import pathlib
import re

from bpfsys import EXIT, insn
from kernel_btf import Btf, kernel
from probe_kernel import KPROBE_KINDS, Prober

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "src/osmia/abi/_context_rows.py"

# Structs that programs get as their context: version, program types, and versions of fields that came later.
CONTEXTS: dict[str, tuple[tuple[int, int], str, dict[str, tuple[int, int]]]] = {
    "__sk_buff": (
        (4, 1),
        "socket_filter sched_cls sched_act cgroup_skb lwt_in lwt_out lwt_xmit lwt_seg6local sk_skb flow_dissector",
        {
            "ingress_ifindex": (4, 2), "ifindex": (4, 2), "tc_index": (4, 2), "cb": (4, 2), "hash": (4, 3),
            "tc_classid": (4, 3), "data": (4, 7), "data_end": (4, 7), "napi_id": (4, 12), "family": (4, 14),
            "remote_ip4": (4, 14), "local_ip4": (4, 14), "remote_ip6": (4, 14), "local_ip6": (4, 14),
            "remote_port": (4, 14), "local_port": (4, 14), "data_meta": (4, 15), "flow_keys": (4, 20), "tstamp": (5, 0),
            "wire_len": (5, 0), "gso_segs": (5, 1), "sk": (5, 1), "gso_size": (5, 7), "hwtstamp": (5, 16),
            "tstamp_type": (5, 18),
        },
    ),
    "xdp_md": (
        (4, 8), "xdp",
        {"data_meta": (4, 15), "ingress_ifindex": (4, 16), "rx_queue_index": (4, 16), "egress_ifindex": (5, 8)},
    ),
    "bpf_sock": (
        (4, 10), "cgroup_sock",
        {
            "mark": (4, 14), "priority": (4, 14), "src_ip4": (4, 17), "src_ip6": (4, 17), "src_port": (4, 17), "state": (5, 1),
            "dst_port": (5, 1), "dst_ip4": (5, 1), "dst_ip6": (5, 1), "rx_queue_mapping": (5, 8),
        },
    ),
    "bpf_sock_addr": (
        (4, 17), "cgroup_sock_addr", {"msg_src_ip4": (4, 18), "msg_src_ip6": (4, 18), "sk": (5, 3)},
    ),
    "bpf_sock_ops": (
        (4, 13), "sock_ops",
        {
            "args": (4, 16), "sk": (5, 3), "skb_data": (5, 10), "skb_data_end": (5, 10), "skb_len": (5, 10),
            "skb_tcp_flags": (5, 10), "skb_hwtstamp": (6, 2),
            **dict.fromkeys(
                (
                    "is_fullsock", "snd_cwnd", "srtt_us", "bpf_sock_ops_cb_flags", "state", "rtt_min", "snd_ssthresh", "rcv_nxt",
                    "snd_nxt", "snd_una", "mss_cache", "ecn_flags", "rate_delivered", "rate_interval_us", "packets_out",
                    "retrans_out", "total_retrans", "segs_in", "data_segs_in", "segs_out", "data_segs_out", "lost_out",
                    "sacked_out", "sk_txhash", "bytes_received", "bytes_acked",
                ),
                (4, 16),
            ),
        },
    ),
    "bpf_cgroup_dev_ctx": ((4, 15), "cgroup_device", {}),
    "sk_msg_md": (
        (4, 17), "sk_msg",
        {
            "family": (4, 18), "remote_ip4": (4, 18), "local_ip4": (4, 18), "remote_ip6": (4, 18), "local_ip6": (4, 18),
            "remote_port": (4, 18), "local_port": (4, 18), "size": (5, 0), "sk": (5, 8),
        },
    ),
    "bpf_raw_tracepoint_args": ((4, 17), "raw_tracepoint raw_tracepoint_writable", {}),
    "sk_reuseport_md": ((4, 19), "sk_reuseport", {"sk": (5, 14), "migrating_sk": (5, 14)}),
    "bpf_sysctl": ((5, 2), "cgroup_sysctl", {}),
    "bpf_sockopt": ((5, 3), "cgroup_sockopt", {}),
    "bpf_sk_lookup": ((5, 9), "sk_lookup", {"cookie": (5, 13), "ingress_ifindex": (5, 17)}),
    "bpf_nf_ctx": ((6, 4), "netfilter", {}),
    "bpf_perf_event_data": ((4, 9), "perf_event", {"addr": (4, 17)}),
    "pt_regs": ((4, 1), "kprobe", {}),
}  # fmt: skip

# Contexts of iterators: BTF structs named after the iterator.
ITERATORS = {
    "task": (5, 8), "task_file": (5, 8), "netlink": (5, 8), "ipv6_route": (5, 8), "bpf_map": (5, 8), "bpf_map_elem": (5, 9),
    "tcp": (5, 9), "udp": (5, 9), "bpf_sk_storage_map": (5, 9), "bpf_prog": (5, 9), "sockmap": (5, 10), "task_vma": (5, 12),
    "unix": (5, 15), "bpf_link": (5, 19), "ksym": (6, 0), "cgroup": (6, 1), "kmem_cache": (6, 13), "dmabuf": (6, 16),
}  # fmt: skip

# Structs that programs or loaders fill or read; layouts of Linux 6.18.
RECORDS = {
    "bpf_tcp_sock": (5, 1), "bpf_flow_keys": (4, 20), "bpf_fib_lookup": (4, 18), "bpf_tunnel_key": (4, 3),
    "bpf_xfrm_state": (4, 18), "bpf_sock_tuple": (4, 20), "bpf_redir_neigh": (5, 10), "bpf_cpumap_val": (5, 9),
    "bpf_devmap_val": (5, 8), "bpf_timer": (5, 15), "bpf_spin_lock": (5, 1), "bpf_dynptr": (5, 19), "bpf_wq": (6, 10),
    "bpf_list_head": (6, 2), "bpf_list_node": (6, 2), "bpf_rb_root": (6, 3), "bpf_rb_node": (6, 3), "bpf_refcount": (6, 4),
    "bpf_iter_num": (6, 4), "bpf_task_work": (6, 18), "bpf_stack_build_id": (4, 17), "bpf_perf_event_value": (4, 15),
    "bpf_pidns_info": (5, 7), "btf_ptr": (5, 10), "bpf_cgroup_storage_key": (4, 19), "bpf_lpm_trie_key_u8": (4, 11),
    "bpf_prog_info": (4, 13), "bpf_map_info": (4, 13), "bpf_btf_info": (4, 18), "bpf_link_info": (5, 8),
    "bpf_token_info": (6, 17), "bpf_func_info": (5, 0), "bpf_line_info": (5, 0), "bpf_core_relo": (5, 17),
    "perf_event_attr": (2, 6), "perf_event_mmap_page": (2, 6), "perf_event_header": (2, 6),
}  # fmt: skip

Field = tuple[str, int, int, int, bool, str, int, int]


def fields_of(btf: Btf, type_id: int, prefix: str = "", base: int = 0) -> list[Field]:
    """Name, offset, size, count, signed, C type, bit offset in the storage unit, bits; unnamed members opened."""
    found: list[Field] = []
    for name, member, bit, bits in btf.members(type_id):
        real = btf.strip(member)
        offset = base + bit // 8
        if btf.kind[real] in ("struct", "union") and (not name or not btf.name[real]):
            found += fields_of(btf, real, f"{prefix}{name}." if name else prefix, offset)
        elif name:
            found.append((prefix + name, *_shape(btf, member, base, bit, bits)))
    return found


def _shape(btf: Btf, member: int, base: int, bit: int, bits: int) -> tuple[int, int, int, bool, str, int, int]:
    real = btf.strip(member)
    size = btf.sizeof(member)
    if bits:
        unit = (base * 8 + bit) // (size * 8) * size
        return unit, size, 0, btf.signed(member), btf.text(member), base * 8 + bit - unit * 8, bits
    element, count = member, 0
    counts = []
    while btf.kind[real] == "array":
        element, one = btf.array(real)
        counts.append(one)
        count = (count or 1) * one if one else 0
        real = btf.strip(element)
    signed = btf.signed(element)
    text = btf.text(element) + "".join(f"[{one}]" for one in counts)
    return base + bit // 8, size, count, signed, text, 0, 0


LOADS = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}
STORES = {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}


class Access:
    """Asks which fields programs may read and write, and what the verifier makes of what they read."""

    def __init__(self) -> None:
        self.prober = Prober()

    def programs(self, kinds: str) -> list[tuple[str, str, int]]:
        """``(type, attach type, a return value that is allowed)``."""
        found = []
        for kind in kinds.split():
            attaches = list(KPROBE_KINDS[:1]) if kind == "kprobe" else self.prober.attach_types_of(kind)
            attaches += ["xdp_devmap", "xdp_cpumap"] if kind == "xdp" else []
            for attach in attaches:
                ends = self.prober.returns(kind, attach)
                found.append((kind, attach, ends[0] if ends else 0))
        return found

    def ask(self, field: Field, programs: list[tuple[str, str, int]]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What a read gives (``scalar``, ``pkt``, ...), who may read, who may write."""
        _, offset, size, count, *_ = field
        size = size // count if count else size
        size = size if size in LOADS else 8  # of a struct inside, such as registers: its first word
        reads, writes = [], []
        gives = ""
        for kind, attach, value in programs:
            end = insn(0xB7, 0, imm=value) + EXIT
            result, log = self.prober.load(kind, attach, insn(LOADS[size], 2, 1, offset) + end, level=2)
            if not result:
                reads.append((kind, attach))
                gives = gives or taken_for(log)
            result, log = self.prober.load(kind, attach, insn(0xB7, 2, imm=0) + insn(STORES[size], 1, 2, offset) + end)
            if not result:
                writes.append((kind, attach))
        return gives, compact(reads, programs), compact(writes, programs)


def taken_for(log: str) -> str:
    """The verifier's word for the register just loaded."""
    match = re.search(r"R2(?:_w)?=([a-z_]*)", log.split("R10=fp0", 1)[-1])
    word = match[1].strip("_") if match else ""
    return word or "scalar"


def compact(some: list[tuple[str, str]], programs: list[tuple[str, str, int]]) -> tuple[str, ...]:
    """``type`` when all its attach types are among ``some``, else ``type/attach``."""
    found = []
    for kind in dict.fromkeys(kind for kind, _, _ in programs):
        every = [attach for one, attach, _ in programs if one == kind]
        mine = [attach for one, attach in some if one == kind]
        if mine and len(mine) == len(every):
            found.append(kind)
        else:
            found += [f"{kind}/{attach}" for attach in mine]
    return tuple(found)


HEAD = '''"""Rows of the context and record structs. Generated by ``scripts/abi/make_contexts.py``; do not edit.

Layouts: BTF of Linux 6.18 on x86-64 (the structs are the same everywhere but for ``pt_regs``). Who may read and write, and
what a field becomes when it is read: asked of the verifier of Linux 6.18, one program per field, program type and attach
type. Versions: the release that first contained the commit.

A struct: name, version, size, kind, fields. A field: name, offset, size, count (0: no array), signed, C type, first bit and
number of bits (0: no bitfield), version, what a read gives, readers, writers.
"""

# ruff: noqa: E501
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STRUCTS: tuple[tuple[Any, ...], ...] = (
'''


def main() -> None:
    """Write the module."""
    btf = kernel()
    access = Access()
    out = [HEAD]
    for name, (version, kinds, later) in CONTEXTS.items():
        programs = access.programs(kinds)
        lines = []
        for field in fields_of(btf, btf.find("struct", name)):
            gives, readers, writers = access.ask(field, programs)
            if field[3] == 0 and field[5].endswith("[0]"):  # as many arguments as the event has
                gives, readers, writers = "scalar", tuple(kinds.split()), ()
            lines.append((*field, later.get(field[0], version), gives, readers, writers))
        out.append(struct_text(btf, name, version, "context", lines))
    for name, version in ITERATORS.items():
        full = f"bpf_iter__{name}"
        fields = [(*field, version, "", (), ()) for field in fields_of(btf, btf.find("struct", full))]
        out.append(struct_text(btf, full, version, "iterator", fields))
    for name, version in RECORDS.items():
        fields = [(*field, version, "", (), ()) for field in fields_of(btf, btf.find("struct", name))]
        out.append(struct_text(btf, name, version, "record", fields))
    out.append(")  # fmt: skip\n")
    TARGET.write_text("".join(out))


def struct_text(btf: Btf, name: str, version: tuple[int, int], kind: str, fields: list[tuple[object, ...]]) -> str:
    """A struct as source."""
    type_id = btf.find("struct", name)
    if not type_id:
        raise SystemExit(f"this kernel has no struct {name}")
    lines = [f"    ({name!r}, {version!r}, {btf.sizeof(type_id)}, {kind!r}, (\n"]
    lines += [f"        {field!r},\n" for field in fields]
    return "".join([*lines, "    )),\n"]).replace("'", '"')


if __name__ == "__main__":
    main()
