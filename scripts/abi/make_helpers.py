"""Write ``src/osmia/abi/_helper_rows.py``: the table of helper functions.

Run as root on a kernel with BTF:

    python scripts/abi/make_helpers.py --source LINUX --header BPF_H

``LINUX`` is a kernel source tree (6.12 was used: the ``bpf_func_proto`` definitions), ``BPF_H`` a uapi ``linux/bpf.h``
(of 6.19: numbers and C prototypes). Who may call what, and under which licence, is asked of the running kernel
(6.18); what that kernel cannot be asked is derived from the source and the row says so.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import pathlib
import re
import sys

from probe_kernel import Prober, gpl_only, matrix

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "src/osmia/abi/_helper_rows.py"

# First helper number of each release. Helper numbers follow the order of merging.
VERSIONS = (
    (1, 3, 19), (4, 4, 1), (12, 4, 2), (17, 4, 3), (23, 4, 4), (26, 4, 5), (27, 4, 6), (31, 4, 8), (37, 4, 9),
    (42, 4, 10), (45, 4, 11), (46, 4, 12), (48, 4, 13), (51, 4, 14), (54, 4, 15), (58, 4, 16), (60, 4, 17), (65, 4, 18),
    (81, 4, 19), (84, 4, 20), (91, 5, 0), (93, 5, 1), (99, 5, 2), (109, 5, 3), (110, 5, 4), (111, 5, 5), (116, 5, 6),
    (119, 5, 7), (125, 5, 8), (136, 5, 9), (142, 5, 10), (156, 5, 11), (163, 5, 12), (164, 5, 13), (166, 5, 14),
    (169, 5, 15), (176, 5, 16), (180, 5, 17), (186, 5, 18), (194, 5, 19), (204, 6, 0), (208, 6, 1), (210, 6, 2),
)  # fmt: skip

BTF_IDS = {
    "&btf_tracing_ids[BTF_TRACING_TYPE_TASK]": "task_struct", "&bpf_ima_inode_hash_btf_ids[0]": "inode",
    "&bpf_bprm_opts_set_btf_ids[0]": "linux_binprm", "&bpf_ima_file_hash_btf_ids[0]": "file",
    "&bpf_skb_output_btf_ids[0]": "sk_buff", "&bpf_d_path_btf_ids[0]": "path", "&bpf_xdp_output_btf_ids[0]": "xdp_buff",
    "&btf_seq_file_ids[0]": "seq_file", "&bpf_sock_from_file_btf_ids[1]": "file",
    "&bpf_sock_from_file_btf_ids[0]": "socket", "&tcp_sock_id": "tcp_sock", "&bpf_xdp_get_buff_len_bpf_ids[0]": "xdp_buff",
    "&btf_sock_ids[BTF_SOCK_TYPE_TCP_TW]": "tcp_timewait_sock", "&btf_sock_ids[BTF_SOCK_TYPE_UDP6]": "udp6_sock",
    "&btf_sock_ids[BTF_SOCK_TYPE_UNIX]": "unix_sock", "&btf_sock_ids[BTF_SOCK_TYPE_TCP6]": "tcp6_sock",
    "&btf_sock_ids[BTF_SOCK_TYPE_TCP_REQ]": "tcp_request_sock", "&btf_sock_ids[BTF_SOCK_TYPE_MPTCP]": "mptcp_sock",
    "&btf_sock_ids[BTF_SOCK_TYPE_TCP]": "tcp_sock", "&btf_sock_ids[BTF_SOCK_TYPE_SOCK_COMMON]": "sock_common",
    "&bpf_task_pt_regs_ids[0]": "pt_regs", "&bpf_cgroup_btf_id[0]": "cgroup", "&bpf_inode_storage_btf_ids[0]": "inode",
    "BPF_PTR_POISON": "",
}  # fmt: skip
SIZES = {"sizeof(u64)": 8, "sizeof(s64)": 8, "sizeof(u32)": 4, "sizeof(struct tcphdr)": 20, "sizeof(struct iphdr)": 20}
SIZES |= {"sizeof(struct ipv6hdr)": 40}

# The kernel's composed words, taken apart.
COMPOSED = {
    "ARG_PTR_TO_UNINIT_MEM": "ARG_PTR_TO_MEM | MEM_UNINIT | MEM_WRITE",
    "ARG_PTR_TO_FIXED_SIZE_MEM": "ARG_PTR_TO_MEM | MEM_FIXED_SIZE",
    "ARG_PTR_TO_SOCKET_OR_NULL": "ARG_PTR_TO_SOCKET | PTR_MAYBE_NULL",
    "RET_PTR_TO_BTF_ID_TRUSTED": "RET_PTR_TO_BTF_ID | PTR_TRUSTED",
    "RET_PTR_TO_RINGBUF_MEM_OR_NULL": "RET_PTR_TO_MEM | MEM_RINGBUF | PTR_MAYBE_NULL",
    "RET_PTR_TO_DYNPTR_MEM_OR_NULL": "RET_PTR_TO_MEM | PTR_MAYBE_NULL",
    "ARG_SCALAR": "ARG_ANYTHING",
}

# Which program types a get_func_proto function of the source serves.
SERVES = {
    "bpf_tracing_func_proto": "kprobe tracepoint perf_event raw_tracepoint raw_tracepoint_writable tracing lsm",
    "tc_cls_act_func_proto": "sched_cls sched_act", "xdp_func_proto": "xdp", "bpf_lsm_func_proto": "lsm",
    "lwt_out_func_proto": "lwt_in lwt_out lwt_xmit lwt_seg6local", "bpf_base_func_proto": "",
    "cgroup_current_func_proto": "*", "cgroup_common_func_proto": "",
    "sk_msg_func_proto": "sk_msg", "kprobe_prog_func_proto": "kprobe", "tp_prog_func_proto": "tracepoint",
    "raw_tp_prog_func_proto": "raw_tracepoint raw_tracepoint_writable tracing lsm syscall",
    "pe_prog_func_proto": "perf_event", "tracing_prog_func_proto": "tracing lsm syscall",
    "sk_reuseport_func_proto": "sk_reuseport", "sock_filter_func_proto": "cgroup_sock",
    "sock_addr_func_proto": "cgroup_sock_addr", "sk_filter_func_proto": "socket_filter", "sk_skb_func_proto": "sk_skb",
    "sock_ops_func_proto": "sock_ops", "cg_sockopt_func_proto": "cgroup_sockopt", "sk_lookup_func_proto": "sk_lookup",
    "bpf_iter_tcp_get_func_proto": "tracing", "bpf_tcp_ca_get_func_proto": "struct_ops", "cg_skb_func_proto": "cgroup_skb",
    "bpf_scx_get_func_proto": "struct_ops",
    "bpf_sk_base_func_proto": "", "lwt_in_func_proto": "lwt_in", "lwt_xmit_func_proto": "lwt_xmit",
    "lwt_seg6local_func_proto": "lwt_seg6local", "flow_dissector_func_proto": "flow_dissector",
    "sysctl_func_proto": "cgroup_sysctl", "cgroup_dev_func_proto": "cgroup_device", "bpf_nf_func_proto": "netfilter",
    "syscall_prog_func_proto": "syscall", "lirc_mode2_func_proto": "lirc_mode2", "bpf_iter_unix_get_func_proto": "tracing",
}  # fmt: skip

# Returned through a function instead of by name.
INDIRECT = {
    "trace_printk": "bpf_trace_printk_proto", "trace_vprintk": "bpf_trace_vprintk_proto",
    "skb_set_tunnel_key": "bpf_skb_set_tunnel_key_proto", "skb_set_tunnel_opt": "bpf_skb_set_tunnel_opt_proto",
    "probe_write_user": "bpf_probe_write_user_proto",
}  # fmt: skip

TRAMPOLINE = ("get_func_arg", "get_func_ret", "get_func_arg_cnt", "get_func_ip", "get_attach_cookie")
LSM = ("inode_storage_get", "inode_storage_delete", "sk_storage_get", "sk_storage_delete", "spin_lock", "spin_unlock")
LSM += ("bprm_opts_set", "ima_inode_hash", "ima_file_hash")
LSM_CGROUP = ("get_local_storage", "get_retval", "set_retval", "setsockopt", "getsockopt")
TRACERS = (
    "kprobe",
    "tracepoint",
    "perf_event",
    "raw_tracepoint",
    "raw_tracepoint_writable",
    "tracing",
    "lsm",
    "syscall",
)
# What a helper needs beside the program type; and the program types that the kernel asked refused for lack of it.
NEEDS = {
    "probe_write_user": ("a kernel that is not locked down", TRACERS),
    "override_return": ("CONFIG_BPF_KPROBE_OVERRIDE", ("kprobe",)),
    "rc_repeat": ("CONFIG_BPF_LIRC_MODE2", ("lirc_mode2",)), "rc_keydown": ("CONFIG_BPF_LIRC_MODE2", ("lirc_mode2",)),
    "rc_pointer_rel": ("CONFIG_BPF_LIRC_MODE2", ("lirc_mode2",)), "skb_get_xfrm_state": ("CONFIG_XFRM", ()),
    "lwt_seg6_store_bytes": ("CONFIG_IPV6_SEG6_BPF", ()), "lwt_seg6_action": ("CONFIG_IPV6_SEG6_BPF", ()),
    "lwt_seg6_adjust_srh": ("CONFIG_IPV6_SEG6_BPF", ()), "get_route_realm": ("CONFIG_IP_ROUTE_CLASSID", ()),
    "get_cgroup_classid": ("CONFIG_CGROUP_NET_CLASSID", ()), "skb_cgroup_classid": ("CONFIG_CGROUP_NET_CLASSID", ()),
    "tcp_gen_syncookie": ("CONFIG_SYN_COOKIES", ()), "tcp_check_syncookie": ("CONFIG_SYN_COOKIES", ()),
    "tcp_raw_gen_syncookie_ipv4": ("CONFIG_SYN_COOKIES", ()), "tcp_raw_gen_syncookie_ipv6": ("CONFIG_SYN_COOKIES", ()),
    "tcp_raw_check_syncookie_ipv4": ("CONFIG_SYN_COOKIES", ()), "tcp_raw_check_syncookie_ipv6": ("CONFIG_SYN_COOKIES", ()),
    "ima_inode_hash": ("CONFIG_IMA", ()), "ima_file_hash": ("CONFIG_IMA", ()),
}  # fmt: skip


def version_of(number: int) -> tuple[int, int]:
    """The release that a helper number came in."""
    return [(major, minor) for first, major, minor in VERSIONS if first <= number][-1]


def read_source(tree: pathlib.Path) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, list[str]]]]:
    """From a source tree: fields of every bpf_func_proto; helper -> proto variable -> functions that return it."""
    protos: dict[str, dict[str, str]] = {}
    uses: dict[str, dict[str, list[str]]] = {}
    for top in ("kernel", "net", "drivers", "security"):
        for path in sorted((tree / top).rglob("*.c")):
            text = path.read_text(errors="replace")
            if "bpf_func_proto" in text:
                text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
                _read_protos(text, protos)
                _read_switches(text, uses)
    return protos, uses


def _read_protos(text: str, protos: dict[str, dict[str, str]]) -> None:
    for name, body in re.findall(r"struct bpf_func_proto (\w+)(?: __weak)? = \{(.*?)\n\};", text, re.S):
        fields = re.findall(r"\.(\w+)\s*=\s*([^,\n]+)", body)
        protos[name] = {field: " ".join(value.split()) for field, value in fields}


def _read_switches(text: str, uses: dict[str, dict[str, list[str]]]) -> None:
    for function, body in re.findall(r"\n(\w*func_proto)\(enum bpf_func_id func_id[^{]*\{(.*?)\n\}", text, re.S):
        _read_switch(function, body, uses)
    same_line = r"bpf_func_proto \*\s*(\w*func_proto)\(enum bpf_func_id func_id[^{]*\{(.*?)\n\}"
    for function, body in re.findall(same_line, text, re.S):
        _read_switch(function, body, uses)


def _read_switch(function: str, body: str, uses: dict[str, dict[str, list[str]]]) -> None:
    pending: list[str] = []
    for part in re.split(r"\n\t(?=case BPF_FUNC_|default:)", body):
        case = re.match(r"case BPF_FUNC_(\w+):(.*)", part, re.S)
        if case is None:
            pending = []
            continue
        pending.append(case[1])
        if case[2].strip():
            variables = re.findall(r"&(\w+_proto\w*)", case[2])
            for helper in pending:
                if helper in INDIRECT and not variables:
                    variables = [INDIRECT[helper]]
                for variable in variables:
                    functions = uses.setdefault(helper, {}).setdefault(variable, [])
                    if function not in functions:
                        functions.append(function)
            pending = []


def words(text: str) -> str:
    """Kernel words of a type with composed ones taken apart: ``ARG_PTR_TO_MEM | MEM_RDONLY``."""
    flags: list[str] = []
    for word in text.split(" | "):
        composed = COMPOSED.get(word)
        if composed is None and word.endswith("_OR_NULL") and word != "ARG_PTR_TO_MEM_OR_BTF_ID":
            composed = word.removesuffix("_OR_NULL") + " | PTR_MAYBE_NULL"
        flags += composed.split(" | ") if composed else [word]
    return " | ".join(flags)


def signature(fields: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return word and argument words of a proto; ``:name`` a BTF struct, ``:8`` a fixed size in bytes."""
    result = words(fields.get("ret_type", "RET_INTEGER"))
    if BTF_IDS.get(fields.get("ret_btf_id", "")):
        result += ":" + BTF_IDS[fields["ret_btf_id"]]
    args = []
    for index in range(1, 6):
        text = fields.get(f"arg{index}_type")
        if text is None:
            break
        text = words(text)
        if f"arg{index}_size" in fields:
            text += f":{SIZES[fields[f'arg{index}_size']]}"
        elif BTF_IDS[fields.get(f"arg{index}_btf_id", "BPF_PTR_POISON")]:
            text += ":" + BTF_IDS[fields[f"arg{index}_btf_id"]]
        args.append(text)
    return result, tuple(args)


def read_header(path: pathlib.Path) -> tuple[dict[str, int], dict[str, str]]:
    """From a uapi header: helper numbers and C prototypes."""
    text = path.read_text()
    numbers = {name: int(number) for name, number in re.findall(r"FN\((\w+), (\d+)", text) if int(number)}
    start = text.index("Start of BPF helper function descriptions")
    section = text[start : text.index("#define ___BPF_FUNC_MAPPER")]
    found = {}
    for proto, name in re.findall(r"^ \* ((?!\s)[^\n]*?\bbpf_(\w+)\([^\n]*\))$", section, re.M):
        found.setdefault(name, re.sub(r"\\", "", proto))
    return numbers, {name: found[name] for name in numbers}


def callers(prober: Prober, numbers: dict[str, int]) -> dict[str, dict[str, set[int]]]:
    """``type/attach`` (``type`` when attach types do not matter) -> helper -> verdicts; derived programs included."""
    table = matrix(prober)
    by_program: dict[str, dict[str, set[int]]] = {}
    for key, verdicts in table.items():
        mine = by_program.setdefault(key.removesuffix(":sleepable"), {})
        for verdict, helpers in verdicts.items():
            mine.setdefault("sleep" if verdict == "sleep" else "yes", set()).update(helpers)
            if verdict == "place":
                mine.setdefault("place", set()).update(helpers)
    raw = by_program["tracing/trace_raw_tp"]
    sleeping = raw.get("sleep", set())
    place = {numbers["d_path"], numbers["sk_storage_get"], numbers["sk_storage_delete"]}
    traced = raw["yes"] | {numbers[name] for name in TRAMPOLINE}
    for attach in ("trace_fentry", "trace_fexit", "modify_return", "trace_fsession"):
        by_program[f"tracing/{attach}"] = {"yes": traced | sleeping, "place": place}
    lsm = traced | {numbers[name] for name in LSM}
    by_program["lsm/lsm_mac"] = {"yes": lsm | sleeping, "place": {numbers["d_path"], numbers["setsockopt"]}}
    never = {numbers["ima_inode_hash"], numbers["ima_file_hash"]}  # they sleep, programs of cgroups do not
    by_program["lsm/lsm_cgroup"] = {"yes": (lsm | {numbers[name] for name in LSM_CGROUP}) - never}
    for name, (_, kinds) in NEEDS.items():
        for kind in kinds:
            for key in [key for key in by_program if key.split("/")[0] == kind] or [kind]:
                by_program.setdefault(key, {"yes": set()})["yes"].add(numbers[name])
    return by_program


def choose(helper: str, protos: dict[str, dict[str, str]], uses: dict[str, list[str]]) -> str:
    """The proto variable that stands for a helper: the one named after it, else the one most used."""
    known = {name: functions for name, functions in uses.items() if protos.get(name)}
    if not known:
        raise SystemExit(f"no proto for {helper}: {uses}")
    if f"bpf_{helper}_proto" in known:
        return f"bpf_{helper}_proto"
    return max(known, key=lambda name: (len(known[name]), name))


def rows(tree: pathlib.Path, header: pathlib.Path) -> list[tuple[object, ...]]:
    """All rows of the table."""
    numbers, texts = read_header(header)
    protos, uses = read_source(tree)
    for helper, variable in INDIRECT.items():
        uses.setdefault(helper, {}).setdefault(variable, [])
    prober = Prober()
    by_program = callers(prober, numbers)
    lirc = {
        numbers[helper] for helper, known in uses.items() if any("lirc_mode2_func_proto" in f for f in known.values())
    }
    by_program["lirc_mode2"]["yes"] |= lirc
    gpl = gpl_only(prober, matrix(prober))
    found = []
    for helper, number in sorted(numbers.items(), key=lambda item: item[1]):
        main = choose(helper, protos, uses[helper])
        fields = protos[main]
        result, args = signature(fields)
        if "..." not in texts[helper] and "(void)" not in texts[helper]:  # registers that the verifier leaves alone
            args += ("ARG_ANYTHING",) * (texts[helper].count(",") + 1 - len(args))
        kinds, limits = who(number, by_program, prober)
        marks = marks_of(helper, number, fields, by_program, gpl, protos, uses[helper])
        variants = variants_of(
            main, protos, uses[helper], [kind for kind, value in prober.prog_types.items() if kinds >> value & 1]
        )
        needs = NEEDS.get(helper, ("", ()))[0]
        found.append(
            (number, helper, version_of(number), texts[helper], result, args, marks, kinds, limits, variants, needs)
        )
    return found


def who(
    number: int, by_program: dict[str, dict[str, set[int]]], prober: Prober
) -> tuple[int, dict[str, tuple[str, ...]]]:
    """Mask of program types that may call a helper, and for types where the attach type matters: which."""
    mask = 0
    limits: dict[str, tuple[str, ...]] = {}
    for kind, value in prober.prog_types.items():
        keys = [key for key in by_program if key.split("/")[0] == kind]
        allowed = [key for key in keys if number in by_program[key]["yes"]]
        if allowed:
            mask |= 1 << value
            if len(allowed) != len(keys):
                limits[kind] = tuple(key.partition("/")[2] or "perf_event" for key in allowed)
    return mask, limits


def marks_of(
    helper: str, number: int, fields: dict[str, str], by_program: dict[str, dict[str, set[int]]],
    gpl: dict[int, list[str]], protos: dict[str, dict[str, str]], uses: dict[str, list[str]],
) -> str:  # fmt: skip
    """g GPL only, p packet pointers accepted, s sleeps, f fast call, a only at some attach points."""
    marks = ""
    said = fields.get("gpl_only") == "true"
    asked = number in gpl
    if said != asked:
        programs = [key for key, verdicts in by_program.items() if number in verdicts["yes"]]
        print(
            f"{helper}: source says gpl_only={said}, kernel {len(gpl.get(number, []))} of {len(programs)}",
            file=sys.stderr,
        )
    marks += "g" if said or asked else ""
    known = [protos[name] for name in uses if name in protos]
    marks += "p" if any(proto.get("pkt_access") == "true" for proto in known) else ""
    marks += "s" if all(proto.get("might_sleep") == "true" for proto in known) else ""
    marks += "f" if fields.get("allow_fastcall") == "true" else ""
    marks += "a" if any(number in verdicts.get("place", ()) for verdicts in by_program.values()) else ""
    return marks


def variants_of(
    main: str, protos: dict[str, dict[str, str]], uses: dict[str, list[str]], allowed: list[str]
) -> tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]:
    """Other signatures: the program types that have them, return word, argument words.

    A ``*`` in SERVES stands for all allowed program types that no other function serves.
    """
    named = {kind for functions in uses.values() for function in functions for kind in SERVES[function].split()}
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    base = signature(protos[main])
    for variable, functions in uses.items():
        if variable == main or variable not in protos or signature(protos[variable]) == base:
            continue
        kinds = found.setdefault(signature(protos[variable]), [])
        for function in functions:
            serves = SERVES[function].split()
            if serves == ["*"]:
                serves = [kind for kind in allowed if kind not in named or kind in kinds]
            if "bpf_lsm_func_proto" in uses[main]:  # asked before the functions of tracing programs
                serves = [kind for kind in serves if kind != "lsm"]
            kinds += [kind for kind in serves if kind not in kinds and kind in allowed]
    return tuple((tuple(kinds), *other) for other, kinds in found.items() if kinds)


HEAD = '''"""Rows of the helper table. Generated by ``scripts/abi/make_helpers.py``; do not edit.

Numbers and C prototypes: uapi ``linux/bpf.h`` of Linux 6.19 (the list is closed since 6.2). Types of arguments and
results, packet access, sleeping: the ``struct bpf_func_proto`` definitions of Linux 6.12, the kernel's composed words taken
apart. Program types, attach types and licence: asked of the verifier of Linux 6.18, one program per helper, program type
and attach type; for functions' entry and exit, security hooks and infrared (not loadable on the kernel asked) derived from
the ``get_func_proto`` functions of Linux 6.12. Versions: the release that first contained the commit.

A row: number, name, version, C prototype, result, arguments, marks, program types (mask of numbers), attach types per program
type where not all of them may, other signatures, what it needs besides.
"""

# ruff: noqa: E501
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROWS: tuple[tuple[Any, ...], ...] = (
'''


def main() -> None:
    """Write the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--header", required=True, type=pathlib.Path)
    options = parser.parse_args()
    lines = [HEAD]
    for row in rows(options.source, options.header):
        lines.append(f"    {row!r},\n".replace("'", '"'))
    lines.append(")  # fmt: skip\n")
    TARGET.write_text("".join(lines))


if __name__ == "__main__":
    main()
