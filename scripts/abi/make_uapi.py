"""Write ``src/osmia/abi/uapi_bpf.py``, ``uapi_perf.py`` and ``uapi_net.py``: constants of the uapi headers.

    python scripts/abi/make_uapi.py --headers INCLUDE

``INCLUDE`` is a directory of exported kernel headers (of Linux 7.2) that has ``linux/bpf.h``. Names are found in the
headers by their prefixes; a C compiler says what they are worth.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Of linux/bpf.h: in other tables, or of the instruction set.
ELSEWHERE = re.compile(
    r"BPF_(FUNC_|PROG_TYPE_|MAP_TYPE_|LINK_TYPE_|CGROUP_(INET|SOCK_OPS|DEVICE|UDP|SYSCTL|GETS|SETS|UNIX)|TRACE_|MODIFY_RETURN|"
    r"LSM_|NETKIT_|TCX_|SK_SKB_STREAM|SK_SKB_VERDICT|SK_MSG_|SK_REUSEPORT_|SK_LOOKUP$|XDP$|XDP_DEVMAP|XDP_CPUMAP|"
    r"PERF_EVENT$|STRUCT_OPS$|NETFILTER$|LIRC_MODE2$|FLOW_DISSECTOR$|MAP_[A-Z]+_|MAP_CREATE|MAP_FREEZE|PROG_[A-Z]+|OBJ_PIN|"
    r"OBJ_GET|RAW_TRACEPOINT_OPEN|BTF_[A-Z]+|TASK_FD_QUERY|LINK_[A-Z]+|ENABLE_STATS|ITER_CREATE|TOKEN_CREATE|COMMON_ATTRS)"
)
GROWS = re.compile(r"(_MAX|_MAX_STATES|_NUMPROTO|_NUMHOOKS)$")  # counts, which differ from release to release
OPCODES = "JMP32 ALU64 DW ATOMIC XADD MOV ARSH END TO_LE TO_BE FROM_LE FROM_BE JNE JLT JLE JSGT JSGE JSLT JSLE JCOND CALL EXIT"
OPCODES += " FETCH XCHG CMPXCHG MEMSX LD_ABS LD_IND LOAD_ACQ STORE_REL REG_0 REG_1 REG_2 REG_3 REG_4 REG_5 REG_6 REG_7"
OPCODES += " REG_8 REG_9 REG_10"
SKIP = {"BPF_" + name for name in OPCODES.split()}

AREAS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "bpf": (
        "Constants of BPF: flags, limits, return codes, events.",
        [
            ("linux/bpf.h", r"(BPF|BTF|XDP|TCX|NETKIT|SK|TCP_BPF)_\w+"),
            ("linux/btf.h", r"BTF_\w+"),
        ],
    ),
    "perf": ("Constants of perf_event_open(2).", [("linux/perf_event.h", r"PERF_\w+")]),
    "net": (
        "Constants of netlink, traffic control, XDP attachment, netfilter and sockets.",
        [
            ("linux/netlink.h", r"(NETLINK_ROUTE|NETLINK_GENERIC|NETLINK_EXT_ACK|NETLINK_CAP_ACK|NLM_F_\w+|NLMSG_(NOOP|ERROR|DONE|ALIGNTO|MIN_TYPE)|NLMSGERR_ATTR_\w+|NLA_F_\w+|NLA_ALIGNTO|NLA_TYPE_MASK)"),
            ("linux/rtnetlink.h", r"(RTM_(NEW|DEL|GET|SET)(LINK|QDISC|TCLASS|TFILTER|CHAIN|ADDR|ROUTE|NSID)|TCA_(UNSPEC|KIND|OPTIONS|STATS|XSTATS|RATE|CHAIN|INGRESS_BLOCK|EGRESS_BLOCK)|RTMGRP_\w+|RTEXT_\w+)"),
            ("linux/if_link.h", r"IFLA_(UNSPEC|ADDRESS|IFNAME|MTU|LINK|QDISC|LINKINFO|NET_NS_PID|NET_NS_FD|XDP|INFO_\w+|XDP_\w+|TARGET_NETNSID|NETKIT_\w+)|XDP_FLAGS_\w+|XDP_ATTACHED_\w+"),
            ("linux/veth.h", r"VETH_INFO_\w+"),
            ("linux/pkt_sched.h", r"TC_H_\w+|TC_PRIO_\w+"),
            ("linux/pkt_cls.h", r"(TCA_BPF_\w+|TCA_CLS_FLAGS_\w+|TC_ACT_\w+|TCA_ACT_(KIND|OPTIONS|INDEX|STATS))"),
            ("linux/if_ether.h", r"ETH_(P_\w+|ALEN|HLEN|ZLEN|DATA_LEN|FRAME_LEN)"),
            ("linux/if.h", r"(IFNAMSIZ|IFF_(UP|BROADCAST|LOOPBACK|POINTOPOINT|RUNNING|PROMISC|MULTICAST|LOWER_UP))"),
            ("linux/in.h", r"IPPROTO_\w+"),
            ("linux/netfilter.h", r"(NF_\w+|NFPROTO_\w+)"),
            ("linux/if_packet.h", r"PACKET_(HOST|BROADCAST|MULTICAST|OTHERHOST|OUTGOING|LOOPBACK|USER|KERNEL)"),
            ("asm-generic/socket.h", r"(SOL_SOCKET|SO_\w+)"),
            ("linux/tcp.h", r"TCP_(NODELAY|MAXSEG|CORK|KEEPIDLE|KEEPINTVL|KEEPCNT|SYNCNT|LINGER2|DEFER_ACCEPT|WINDOW_CLAMP|INFO|QUICKACK|CONGESTION|USER_TIMEOUT|FASTOPEN|SAVE_SYN|SAVED_SYN|NOTSENT_LOWAT|ULP)"),
            ("sys/socket.h", r"(AF_\w+|SOCK_(STREAM|DGRAM|RAW|RDM|SEQPACKET|PACKET|CLOEXEC|NONBLOCK)|SOL_(NETLINK|PACKET|XDP))"),
        ],
    ),
}  # fmt: skip

# Header names that no regular expression finds: values of libc's socket families are in a file of their own.
INDIRECT = {"sys/socket.h": ("bits/socket.h", "bits/socket_type.h"), "asm-generic/socket.h": ("asm-generic/socket.h",)}

# In no exported header: the kernel has them in include/linux/socket.h.
EXTRA = {"net": {"SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41}}


def names_in(text: str, pattern: str) -> list[str]:
    """Macro names without parameters and enumerators of a header, in order."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found: dict[str, None] = {}
    for line in re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?=[ \t]+[^\s])", text, re.M):
        found[line] = None
    for raw in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, re.S):
        body = re.sub(r"^\s*#.*$", "", raw, flags=re.M)
        for piece in body.split(","):
            name = re.match(r"\s*(\w+)", piece)
            if name:
                found[name[1]] = None
    return [name for name in found if re.fullmatch(pattern, name)]


def values(headers: pathlib.Path, wanted: list[tuple[str, str]]) -> dict[str, int]:
    """Each name's value as a C compiler sees it, in the order given; names that are no number are left out."""
    includes = "\n".join(f"#include <{header}>" for header in dict.fromkeys(header for header, _ in wanted))
    names = [name for _, name in wanted]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "v.c")
        while True:
            body = "\n".join(f'P("{name}", {name})' for name in names)
            source.write_text(
                f"#define _GNU_SOURCE\n#include <stdio.h>\n{includes}\n"
                '#define P(n, v) printf("%s %lld\\n", n, (long long)(v));\n'
                f"int main(void) {{\n{body}\nreturn 0; }}\n"
            )
            done = subprocess.run(
                ["gcc", "-w", "-I", str(headers), "-o", f"{folder}/v", str(source)],
                capture_output=True,
                text=True,
                check=False,
            )
            if not done.returncode:
                break
            first = 5 + includes.count("\n") + 1
            lines = {int(line) for line in re.findall(r"v\.c:(\d+):\d+: error", done.stderr)}
            bad = {names[line - first] for line in lines if 0 <= line - first < len(names)}
            if not bad:
                raise SystemExit(done.stderr)
            names = [name for name in names if name not in bad]
        out = subprocess.run([f"{folder}/v"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in out.splitlines())}


def wanted_in(headers: pathlib.Path, sources: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """``(header, name)`` of everything an area takes."""
    found: dict[str, str] = {}
    for header, pattern in sources:
        for file in INDIRECT.get(header, (header,)):
            places = [
                headers / file,
                pathlib.Path("/usr/include/x86_64-linux-gnu") / file,
                pathlib.Path("/usr/include") / file,
            ]
            path = next(place for place in places if place.exists())
            for name in names_in(path.read_text(), pattern):
                if (
                    not GROWS.search(name)
                    and not ELSEWHERE.match(name)
                    and name not in SKIP
                    and not name.startswith("__")
                ):
                    found.setdefault(name, header)
    return [(header, name) for name, header in found.items()]


def main() -> None:
    """Write the three modules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--headers", required=True, type=pathlib.Path)
    headers = parser.parse_args().headers
    for area, (title, sources) in AREAS.items():
        table = values(headers, wanted_in(headers, sources)) | EXTRA.get(area, {})
        lines = [
            f'"""{title}\n\nGenerated by ``scripts/abi/make_uapi.py`` from the exported headers of Linux 7.2 and, for socket families and '
            'types,\nglibc; do not edit. Names are the headers\' own.\n"""\n\nfrom __future__ import annotations\n\n'
        ]
        for name, value in table.items():
            mask = value > 255 and not value & (value - 1)
            lines.append(f"{name} = 0x{value:X}\n" if value > 4095 or mask else f"{name} = {value}\n")
        (ROOT / f"src/osmia/abi/uapi_{area}.py").write_text("".join(lines))
        print(area, len(table))


if __name__ == "__main__":
    main()
