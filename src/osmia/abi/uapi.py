"""Constants of the kernel's uapi headers by name.

The values live in three generated modules, ``uapi_bpf``, ``uapi_perf`` and ``uapi_net``, which hot code imports
directly:

    from osmia.abi.uapi_perf import PERF_TYPE_TRACEPOINT

This module finds a constant by a name that is only known at run time, and knows since when flags exist.
"""

from __future__ import annotations

import importlib

from osmia.abi._table import Version, suggest

AREAS = ("bpf", "perf", "net")

# Version of BPF flags and modes, where it is later than that of the call they belong to.
VERSIONS: dict[str, Version] = {
    "BPF_F_ALLOW_OVERRIDE": (4, 10), "BPF_F_ALLOW_MULTI": (4, 15), "BPF_F_REPLACE": (5, 6), "BPF_F_BEFORE": (6, 6),
    "BPF_F_AFTER": (6, 6), "BPF_F_ID": (6, 6), "BPF_F_PREORDER": (6, 15), "BPF_F_LINK": (6, 4),
    "BPF_F_STRICT_ALIGNMENT": (4, 12), "BPF_F_ANY_ALIGNMENT": (5, 0), "BPF_F_TEST_RND_HI32": (5, 3),
    "BPF_F_TEST_STATE_FREQ": (5, 4), "BPF_F_SLEEPABLE": (5, 10), "BPF_F_XDP_HAS_FRAGS": (5, 18),
    "BPF_F_XDP_DEV_BOUND_ONLY": (6, 3), "BPF_F_TEST_REG_INVARIANTS": (6, 8), "BPF_F_NETFILTER_IP_DEFRAG": (6, 6),
    "BPF_F_KPROBE_MULTI_RETURN": (5, 18), "BPF_F_UPROBE_MULTI_RETURN": (6, 6),
    "BPF_F_QUERY_EFFECTIVE": (4, 15), "BPF_F_TEST_RUN_ON_CPU": (5, 10), "BPF_F_TEST_XDP_LIVE_FRAMES": (5, 18),
    "BPF_F_TEST_SKB_CHECKSUM_COMPLETE": (6, 11), "BPF_F_LOCK": (5, 1), "BPF_F_CPU": (7, 0), "BPF_F_ALL_CPUS": (7, 0),
    "BPF_F_NO_PREALLOC": (4, 6), "BPF_F_NO_COMMON_LRU": (4, 10), "BPF_F_NUMA_NODE": (4, 14), "BPF_F_RDONLY": (4, 15),
    "BPF_F_WRONLY": (4, 15), "BPF_F_STACK_BUILD_ID": (4, 17), "BPF_F_ZERO_SEED": (5, 0), "BPF_F_RDONLY_PROG": (5, 2),
    "BPF_F_WRONLY_PROG": (5, 2), "BPF_F_CLONE": (5, 4), "BPF_F_MMAPABLE": (5, 5), "BPF_F_PRESERVE_ELEMS": (5, 10),
    "BPF_F_INNER_MAP": (5, 10), "BPF_F_PATH_FD": (6, 5), "BPF_F_VTYPE_BTF_OBJ_FD": (6, 9), "BPF_F_TOKEN_FD": (6, 9),
    "BPF_F_SEGV_ON_FAULT": (6, 9), "BPF_F_NO_USER_CONV": (6, 9), "BPF_F_RB_OVERWRITE": (6, 19),
    "BPF_F_ADJ_ROOM_FIXED_GSO": (5, 2), "BPF_F_ADJ_ROOM_ENCAP_L3_IPV4": (5, 2), "BPF_F_ADJ_ROOM_ENCAP_L3_IPV6": (5, 2),
    "BPF_F_ADJ_ROOM_ENCAP_L4_GRE": (5, 2), "BPF_F_ADJ_ROOM_ENCAP_L4_UDP": (5, 2), "BPF_F_ADJ_ROOM_NO_CSUM_RESET": (5,
    8),
    "BPF_F_ADJ_ROOM_ENCAP_L2_ETH": (5, 13), "BPF_F_ADJ_ROOM_DECAP_L3_IPV4": (6, 3),
    "BPF_F_ADJ_ROOM_DECAP_L3_IPV6": (6, 3), "BPF_F_CURRENT_NETNS": (4, 20), "BPF_F_BROADCAST": (5, 14),
    "BPF_F_EXCLUDE_INGRESS": (5, 14), "BPF_F_USER_BUILD_ID": (4, 18), "BPF_F_SEQ_NUMBER": (4, 17),
    "BPF_F_TUNINFO_FLAGS": (6, 1), "BPF_F_NO_TUNNEL_KEY": (6, 3), "BPF_F_TIMER_ABS": (6, 4),
    "BPF_F_TIMER_CPU_PIN": (6, 7),
    "BPF_RB_OVERWRITE_POS": (6, 19), "BPF_STATS_RUN_TIME": (5, 8), "BPF_FIB_LOOKUP_SKIP_NEIGH": (6, 3),
    "BPF_FIB_LOOKUP_TBID": (6, 5), "BPF_FIB_LOOKUP_MARK": (6, 10),
}  # fmt: skip


def find(name: str) -> int | None:
    """The value of a constant, None when it is in none of the tables."""
    for area in AREAS:
        value = vars(importlib.import_module(f"osmia.abi.uapi_{area}")).get(name)
        if isinstance(value, int):
            return value
    return None


def constant(name: str) -> int:
    """The value of a constant (``BPF_F_CURRENT_CPU``, ``TC_ACT_SHOT``).

    :raises UsageError: ABI007 when it is in none of the tables.
    """
    value = find(name)
    if value is None:
        from osmia.diagnostics import UsageError

        hint = suggest(name, [known for area in AREAS for known in names(area)])
        raise UsageError("ABI007", f"there is no constant {name!r}", hint=hint)
    return value


def names(area: str, prefix: str = "") -> list[str]:
    """Names of an area (``bpf``, ``perf``, ``net``) that begin with a prefix, in the headers' order."""
    module = importlib.import_module(f"osmia.abi.uapi_{area}")
    return [name for name in vars(module) if name[0].isupper() and name.startswith(prefix)]


def group(area: str, prefix: str) -> dict[str, int]:
    """Constants of an area that begin with a prefix, the prefix taken off: ``group("bpf", "XDP_")["PASS"]``."""
    module = importlib.import_module(f"osmia.abi.uapi_{area}")
    return {name[len(prefix) :]: getattr(module, name) for name in names(area, prefix)}
