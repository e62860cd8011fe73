"""What the running kernel's verifier says: helpers by program and attach type, licences, return values.

Run as root: ``python scripts/abi/probe_kernel.py``. Loads (and forgets at once) about 15,000 programs of three
instructions in about a second. Program types that this kernel refuses before looking at the instructions
(missing configuration, or EPERM for attachment to functions and security hooks) are left out and named.
"""

from __future__ import annotations

import errno
import json
import re
import sys

from bpfsys import EXIT, call, insn, prog_load
from kernel_btf import kernel

SLEEPABLE = 16
CANNOT = ("unknown func", "cannot use helper")


class Prober:
    """Loads programs for a (program type, attach type) pair of the running kernel."""

    def __init__(self) -> None:
        btf = kernel()
        self.prog_types = _enum("bpf_prog_type", "BPF_PROG_TYPE_")
        self.attach_types = _enum("bpf_attach_type", "BPF_")
        self.helpers = {number: name for name, number in _enum("bpf_func_id", "BPF_FUNC_").items() if number}
        self.targets = {
            ("tracing", "trace_raw_tp"): btf.find("typedef", "btf_trace_sched_switch"),
            ("tracing", "trace_iter"): btf.find("func", "bpf_iter_task"),
        }
        self.struct_ops = btf.find("struct", "tcp_congestion_ops")

    def load(
        self,
        kind: str,
        attach: str,
        code: bytes,
        *,
        flags: int = 0,
        licence: str = "GPL",
        btf_id: int = 0,
        level: int = 1,
    ) -> tuple[int, str]:
        """Load code as a program of that type; ``attach`` "" names none."""
        number = self.prog_types[kind]
        expected = self.attach_types[attach] if attach else 0
        target = btf_id or self.targets.get((kind, attach), 0)
        if kind == "struct_ops":
            target, expected = self.struct_ops, 1
        if kind == "syscall":
            flags |= SLEEPABLE
        return prog_load(number, code, licence=licence, flags=flags, expected=expected, btf_id=target, level=level)

    def works(self, kind: str, attach: str, flags: int = 0) -> bool:
        """Whether a program that returns a constant loads at all."""
        results = [self.load(kind, attach, insn(0xB7, 0, imm=value) + EXIT, flags=flags)[0] for value in (0, 1)]
        return 0 in results

    def verdict(self, kind: str, attach: str, helper: int, **more: int | str) -> str:
        """``no``: not for this program; ``gpl``, ``sleep``, ``place`` (this attach point only): refused for
        that reason; ``yes``: known (whatever the verifier finds wrong with the arguments)."""
        result, log = self.load(kind, attach, call(helper) + insn(0xB7, 0) + EXIT, **more)  # type: ignore[arg-type]
        if result == -errno.EPERM and not log:
            return "eperm"
        if any(word in log for word in CANNOT):
            return "no"
        if "cannot call GPL-restricted function" in log:
            return "gpl"
        if "might sleep in a non-sleepable prog" in log:
            return "sleep"
        if "helper call is not allowed in probe" in log:
            return "place"
        if re.search(r"func \S+ (supported only for|not supported for)", log):
            return "no"
        return "yes"

    def returns(self, kind: str, attach: str) -> tuple[int, int] | None:
        """The range of return values that the verifier names, None when any value loads."""
        for value in (7, -7):
            result, log = self.load(kind, attach, insn(0xB7, 0, imm=value) + EXIT)
            found = re.search(r"should have been in \[(-?\d+), (-?\d+)\]", log)
            if found:
                return int(found[1]), int(found[2])
            if result:
                raise RuntimeError(f"{kind} {attach}: {result} {log}")
        return None

    def attach_types_of(self, kind: str) -> list[str]:
        """Attach types with which a program type loads; ``[""]`` when the kernel does not look at it."""
        names = [name for name in self.attach_types if self.works(kind, name)]
        if kind == "tracing":
            return [name for name in ("trace_raw_tp", "trace_iter") if name in names]
        if kind == "struct_ops":
            return [""] if self.works(kind, "") else []
        unspecific = len(names) == len(self.attach_types)
        if unspecific or names == ["cgroup_inet_ingress"]:
            return [""]
        if kind != "cgroup_skb":  # number 0 stands for "unspecified"
            names = [name for name in names if name != "cgroup_inet_ingress"]
        return names


def _enum(name: str, prefix: str) -> dict[str, int]:
    btf = kernel()
    found = {}
    for enumerator, value in btf.enum(btf.find("enum", name)).items():
        if enumerator.startswith(prefix) and value not in found.values():
            found[enumerator[len(prefix) :].lower()] = value
    return found


KPROBE_KINDS = ("", "trace_kprobe_multi", "trace_kprobe_session", "trace_uprobe_multi", "trace_uprobe_session")


def matrix(prober: Prober) -> dict[str, dict[str, list[int]]]:
    """For each ``type``, ``type/attach`` or ``type/attach:sleepable``: verdict -> helper numbers."""
    found: dict[str, dict[str, list[int]]] = {}
    for kind in prober.prog_types:
        if kind == "unspec":
            continue
        attaches = list(KPROBE_KINDS) if kind == "kprobe" else prober.attach_types_of(kind)
        for attach in attaches:
            for flags in (0, SLEEPABLE):
                if kind == "syscall" and not flags:
                    continue
                if not prober.works(kind, attach, flags):
                    continue
                key = f"{kind}/{attach}".rstrip("/") + (":sleepable" if flags else "")
                verdicts: dict[str, list[int]] = {}
                for helper in prober.helpers:
                    verdicts.setdefault(prober.verdict(kind, attach, helper, flags=flags), []).append(helper)
                verdicts.pop("no", None)
                found[key] = verdicts
    return found


def gpl_only(prober: Prober, table: dict[str, dict[str, list[int]]]) -> dict[int, list[str]]:
    """For each helper: the programs in which a proprietary licence is refused."""
    found: dict[int, list[str]] = {}
    for key, verdicts in table.items():
        kind, _, attach = key.removesuffix(":sleepable").partition("/")
        flags = SLEEPABLE if key.endswith(":sleepable") else 0
        for helper in sorted(number for numbers in verdicts.values() for number in numbers):
            if prober.verdict(kind, attach, helper, flags=flags, licence="Proprietary") == "gpl":
                found.setdefault(helper, []).append(key)
    return found


def main() -> None:
    """Print everything as JSON."""
    prober = Prober()
    table = matrix(prober)
    returns: dict[str, tuple[int, int] | None] = {}
    missing = []
    for kind in prober.prog_types:
        attaches = prober.attach_types_of(kind)
        if not attaches and kind != "unspec":
            missing.append(kind)
        for attach in attaches:
            returns[f"{kind}/{attach}".rstrip("/")] = prober.returns(kind, attach)
    result = {"helpers": table, "gpl": gpl_only(prober, table), "returns": returns, "not_loadable": missing}
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
