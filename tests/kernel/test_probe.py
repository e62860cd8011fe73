"""Feature probes: true, complete, explained, without a trace, and fit for users without rights."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest

from osmia.abi import attach_types, helpers, kernel_versions, map_types, prog_types
from osmia.diagnostics import UsageError
from osmia.kernel import inspect, permissions, probe, probe_programs, probe_rows, release, syscall
from osmia.kernel.probe_network import apart
from osmia.kernel.probe_programs import EXIT, Loader, constant, helper_verdict, insn
from osmia.kernel.probe_rows import Config, Row, absent, answered, contradictions

ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to give rights up"
)
SUMMARY = """
import json, sys
from osmia.kernel import probe
able, why = probe.can_run()
rows = [row.plain() for row in probe.probe_all()]
json.dump({"able": able, "why": why, "rows": rows}, sys.stdout)
"""


@pytest.fixture(scope="module")
def rows():
    probe.forget()
    return probe.probe_all()


@pytest.fixture(autouse=True)
def _fresh():
    yield
    probe.forget()


def by_name(found, area=None):
    return {row.name: row for row in found if area is None or row.area == area}


def own_objects():
    """Kinds of BPF objects and perf events that this process has descriptors of."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("anon_inode:") and ("bpf" in target or "btf" in target or "perf" in target):
            found.append(target)
    return found


# -- all rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_every_row_is_well_formed_and_every_refusal_has_a_remedy(rows):
    keys = [(row.area, row.name) for row in rows]
    assert len(keys) == len(set(keys))
    for row in rows:
        assert row.area in probe.AREAS
        assert row.status in probe_rows.STATUSES
        assert row.version is None or (2, 6) < row.version <= kernel_versions.NEWEST, row
        if row.ok:
            assert not row.remedy and not row.cause, row
        else:
            assert row.reason and row.remedy, row
            assert not row.reason.endswith(".") and "\n" not in row.reason, row
        assert row.status == "no" or not row.cause, row


@pytest.mark.kernel
def test_every_table_is_covered(rows):
    assert set(by_name(rows, "program type")) == {row.name for row in prog_types.prog_types() if row.number}
    assert set(by_name(rows, "map type")) == {row.name for row in map_types.map_types() if row.number}
    assert set(by_name(rows, "helper")) == {row.name for row in helpers.helpers()}
    assert set(by_name(rows, "feature")) == {row.name for row in kernel_versions.features()}
    from osmia.lang.hooks import CGROUP_HOOKS, HOOKS

    hooks = by_name(rows, "hook")
    assert set(HOOKS) - {"cgroup"} <= set(hooks)
    assert {f"cgroup {name}" for name in CGROUP_HOOKS} <= set(hooks)
    assert {row.area for row in rows} == set(probe.AREAS)


@pytest.mark.kernel
def test_versions_are_those_of_the_tables(rows):
    for row in rows:
        if row.area == "program type":
            assert row.version == prog_types.prog_type(row.name).version
        elif row.area == "map type":
            assert row.version == map_types.map_type(row.name).version
        elif row.area == "helper":
            assert row.version == helpers.helper(row.name).version
        elif row.area == "feature":
            assert row.version == kernel_versions.feature(row.name).version


@pytest.mark.kernel
def test_no_probe_contradicts_the_version_of_its_table(rows):
    if release.running()[:2] > kernel_versions.NEWEST:
        pytest.skip("this kernel is newer than the tables")
    assert not contradictions(rows)


@pytest.mark.kernel
def test_what_works_here_works_by_another_tool(rows):
    tool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    if not os.path.exists(tool):
        pytest.skip("bpftool is not installed")
    done = subprocess.run([tool, "-j", "feature", "probe", "kernel"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"bpftool cannot probe here: {done.stderr.strip()}")
    data = json.loads(done.stdout)
    types, maps = by_name(rows, "program type"), by_name(rows, "map type")
    compared = 0
    for name, there in data["program_types"].items():
        kind = name.removeprefix("have_").removesuffix("_prog_type")
        if kind in types and kind != "tracing":  # it tries fentry alone
            assert types[kind].ok == there, (kind, types[kind])
            compared += 1
    for name, there in data["map_types"].items():
        kind = name.removeprefix("have_").removesuffix("_map_type")
        if kind in maps:
            assert maps[kind].ok == there, (kind, maps[kind])
            compared += 1
    assert compared > 50


@pytest.mark.kernel
def test_nothing_is_left_behind():
    before = sorted(own_objects())
    threads = threading.active_count()
    namespace = os.stat("/proc/thread-self/ns/net").st_ino
    probe.probe_all()
    assert sorted(own_objects()) == before
    assert threading.active_count() == threads
    assert os.stat("/proc/thread-self/ns/net").st_ino == namespace
    # The kernel frees what was loaded as soon as the last descriptor is closed.
    assert not [info.name for info in inspect.maps() if info.name == "osmia_probe" and _is_ours(info.id)]


def _is_ours(number):
    return any(pid == os.getpid() for pid, _ in inspect.owners().get(("map", number), ()))


@pytest.mark.kernel
def test_standard_descriptors_survive():
    code = "from osmia.kernel import probe; probe.probe_all(); import os; os.fstat(0); os.fstat(1); os.fstat(2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# -- answers of their own ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["xdp", "kprobe", "tracing", "sched_cls", "cgroup_sock_addr", "syscall", "sk_msg"])
def test_helpers_of_a_type_are_those_of_the_table(kind):
    if release.running()[:2] != kernel_versions.PROBED:
        pytest.skip("the table quotes another kernel's verifier")
    found = by_name(probe.probe_helpers(kind))
    assert set(found) == {row.name for row in helpers.helpers() if row.allowed(kind)}
    for name, row in found.items():
        assert row.ok or helpers.helper(name).needs, row


@pytest.mark.kernel
def test_helpers_of_other_types_say_so():
    found = by_name(probe.probe_helpers("BPF_PROG_TYPE_XDP", everything=True))
    assert len(found) == len(helpers.TABLE)
    assert found["xdp_adjust_head"].ok and found["ktime_get_ns"].ok
    assert found["probe_read"].status == "no"
    assert "tracepoint" in found["probe_read"].remedy
    assert not contradictions(found.values(), (6, 18))


def test_helpers_of_no_type():
    with pytest.raises(UsageError) as refused:
        probe.probe_helpers("xpd")
    assert refused.value.code == "ABI001"


@pytest.mark.kernel
def test_verdicts_on_helpers():
    loader = Loader()
    assert helper_verdict(loader, "xdp", "", helpers.number("ktime_get_ns")) == "yes"
    assert helper_verdict(loader, "xdp", "", helpers.number("map_lookup_elem")) == "yes"  # called with wrong arguments
    assert helper_verdict(loader, "xdp", "", helpers.number("skb_load_bytes")) == "no"
    assert helper_verdict(loader, "xdp", "", 100_000) == "no"
    assert helper_verdict(loader, "tracing", "trace_iter", helpers.number("copy_from_user")) == "sleep"


@pytest.mark.kernel
def test_a_program_that_cannot_load_is_not_taken_for_one_that_can():
    loader = Loader()
    assert loader.load("socket_filter")[0] == 0
    number, log = loader.load("socket_filter", "", insn(0xBF, 0, 5) + EXIT, log=True)
    assert number in (errno.EACCES, errno.EINVAL) and "R5 !read_ok" in log
    assert loader.load("cgroup_skb", "cgroup_inet_ingress", constant(7))[0] == errno.EINVAL
    assert loader.load("tracing", "trace_iter", target="no_such_function")[0] == errno.ENOENT


@pytest.mark.kernel
def test_without_type_information():
    class Bare(Loader):
        def btf(self):
            return None

    row = probe_programs.program_type(Bare(), prog_types.prog_type("tracing"))
    assert row.status == "no" and "BTF" in row.reason and "CONFIG_DEBUG_INFO_BTF" in row.remedy
    from osmia.kernel.probe_features import features
    from osmia.kernel.probe_hooks import btf_tracepoint, iterators

    assert btf_tracepoint(Bare()).status == "no"
    assert [row.name for row in iterators(Bare())] == ["iter"]
    found = by_name(features(Bare(), [Row("hook", name, "yes") for name in _hook_names()]))
    assert found["kfuncs"].status == "unknown" and found["ringbuf"].ok


def _hook_names():
    from osmia.kernel.probe_features import _HOOKS, _LINKS, _OWN_HOOKS

    return {*_HOOKS.values(), *_LINKS.values(), *_OWN_HOOKS.values()}


@pytest.mark.kernel
def test_hooks_that_are_there_hold_programs(rows):
    """Attaching for real, where that touches nothing of others: in a network namespace, at a function of our own."""
    hooks = by_name(rows, "hook")
    loader = Loader()
    fd, _ = loader.open("xdp", "xdp")
    try:
        number = attach_types.number("xdp")
        answer = apart(lambda: syscall.link_create(fd, 1, number))
        assert hooks["xdp_link"].ok == isinstance(answer, int)
        if isinstance(answer, int):
            assert inspect.read_link(answer).kind == "xdp"
            os.close(answer)
    finally:
        os.close(fd)


@pytest.mark.kernel
def test_a_namespace_apart():
    own = os.stat("/proc/thread-self/ns/net").st_ino
    other = apart(lambda: os.stat("/proc/thread-self/ns/net").st_ino)
    if isinstance(other, OSError):
        pytest.skip("no network namespace can be made here")
    assert other != own == os.stat("/proc/thread-self/ns/net").st_ino
    import socket

    assert [name for _, name in apart(socket.if_nameindex)] == ["lo"]


@pytest.mark.kernel
def test_can_run():
    assert probe.can_run() == (True, "")


@pytest.mark.kernel
def test_answers_are_kept_until_they_are_forgotten(monkeypatch):
    first = probe.probe_program_types()

    def refuse(*_, **__):
        return -errno.EINVAL, 0

    monkeypatch.setattr(syscall, "prog_load", refuse)
    kept = probe.probe_program_types()
    assert [row.status for row in kept] == [row.status for row in first]
    kept.clear()
    assert probe.probe_program_types()
    probe.forget()
    assert not any(row.ok for row in probe.probe_program_types())


@pytest.mark.kernel
def test_one_row_by_name():
    assert probe.find("map type", "hash").ok
    assert probe.find("right", "CAP_BPF").area == "right"
    assert probe.find("setting", "CAP_BPF") is None
    assert probe.find("hook", "no such hook") is None
    assert probe.find("no such area", "hash") is None


def test_rights_are_those_of_the_process():
    found = by_name(probe.permissions())
    with open("/proc/self/status") as file:
        effective = int(re.search(r"CapEff:\s*([0-9a-f]+)", file.read())[1], 16)
    admin = bool(effective >> 21 & 1)
    assert found["CAP_SYS_ADMIN"].ok == admin
    assert found["CAP_NET_ADMIN"].ok == bool(effective >> 12 & 1)
    if release.has((5, 8)):
        assert found["CAP_BPF"].ok == (admin or bool(effective >> 39 & 1))
    with open("/proc/sys/kernel/perf_event_paranoid") as file:
        assert f"kernel.perf_event_paranoid={file.read().strip()}" in found["perf events"].reason


def test_lockdown_and_user_namespaces(monkeypatch):
    def held(lockdown="", initial=True, effective=-1, **sysctls):
        rights = permissions.Permissions(effective & (1 << 41) - 1, initial, lockdown, sysctls)
        monkeypatch.setattr(permissions, "current", lambda: rights)
        probe.forget()
        return by_name(probe.permissions())

    assert held("confidentiality")["lockdown"].status == "forbidden"
    assert held("integrity")["lockdown"].ok
    assert held("none")["lockdown"].reason == "off"
    inside = held(initial=False)
    assert inside["user namespace"].status == "forbidden" and "container" in inside["user namespace"].remedy
    assert inside["CAP_BPF"].status == "no"
    assert held(unprivileged_bpf=0)["unprivileged BPF"].ok
    locked = held(unprivileged_bpf=1)["unprivileged BPF"]
    assert locked.status == "no" and "next boot" in locked.remedy
    assert held(effective=0, paranoid=3)["perf events"].status == "forbidden"
    assert held(effective=0, paranoid=-1)["perf events"].ok
    assert held(effective=1 << 38, paranoid=3)["perf events"].ok


# -- users without rights ----------------------------------------------------------------------------------------------


def without(*options, text=SUMMARY):
    done = subprocess.run(
        ["setpriv", *options, sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@ROOT
def test_without_any_right():
    data = without("--bounding-set=-all", "--inh-caps=-all")
    assert data["able"] is False and "CAP_BPF" in data["why"] and "sudo" in data["why"]
    rows = {(row["area"], row["name"]): row for row in data["rows"]}
    assert rows["right", "CAP_BPF"]["status"] == "no" and "setcap cap_bpf" in rows["right", "CAP_BPF"]["remedy"]
    for (area, name), row in rows.items():
        if area in ("program type", "map type", "helper"):
            assert row["status"] in ("forbidden", "no"), row
        if row["status"] == "forbidden":
            assert row["remedy"], row
        assert row["version"] is None or re.fullmatch(r"\d+\.\d+", row["version"]), (area, name)
    for name in ("kprobe", "xdp", "tracing"):
        row = rows["program type", name]
        assert row["status"] == "forbidden" and "missing" in row["reason"] and "sudo" in row["remedy"]
    assert "CAP_NET_ADMIN" in rows["program type", "xdp"]["reason"]
    assert "CAP_PERFMON" in rows["hook", "tracepoint"]["reason"]


@ROOT
def test_with_one_right_alone():
    if not release.has((5, 8)):
        pytest.skip("CAP_BPF came with Linux 5.8")
    data = without("--bounding-set=-all,+bpf", "--inh-caps=-all")
    rows = {(row["area"], row["name"]): row for row in data["rows"]}
    assert data["able"] is False and "CAP_PERFMON missing" in data["why"] and "CAP_BPF" not in data["why"]
    assert rows["right", "CAP_BPF"]["status"] == "yes" and rows["right", "CAP_SYS_ADMIN"]["status"] == "no"
    assert rows["program type", "socket_filter"]["status"] == "yes"
    assert rows["map type", "hash"]["status"] == "yes"
    assert rows["program type", "kprobe"]["status"] == "forbidden"
    assert rows["program type", "kprobe"]["reason"] == "CAP_PERFMON missing"
    assert rows["helper", "ktime_get_ns"]["status"] == "yes"
    assert rows["kernel", "run statistics"]["status"] == "forbidden"


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(monkeypatch):
    """A kernel with given build options."""

    def set_options(**options):
        monkeypatch.setattr(probe_rows, "config", Config({f"CONFIG_{name}": value for name, value in options.items()}))

    return set_options


def test_too_old(built):
    built(BPF="y")
    row = absent("map type", "later", (99, 1), errno.EINVAL, ("CONFIG_LATER",))
    assert (row.status, row.version, row.cause) == ("no", (99, 1), "")
    assert "came with Linux 99.1" in row.reason and row.remedy == "run Linux 99.1 or later"


def test_not_built_in(built):
    built(BPF="y", BPF_LSM="y")
    row = answered("hook", "x", (3, 18), errno.EINVAL, what="", options=("CONFIG_BPF_LSM", "CONFIG_OTHER"))
    assert row.cause == "CONFIG_OTHER" and row.remedy == "run a kernel with CONFIG_OTHER=y"
    forbidden = answered("hook", "x", (3, 18), errno.EPERM, what="", options=("CONFIG_OTHER",))
    assert forbidden.status == "no" and forbidden.cause == "CONFIG_OTHER"


def test_options_that_cannot_be_read(monkeypatch):
    from osmia.diagnostics.errors import RelocationError
    from osmia.kernel import kconfig

    def unreadable():
        raise RelocationError("KRN022", "the kernel's configuration cannot be read")

    monkeypatch.setattr(kconfig, "read", unreadable)
    unknown = Config()
    assert unknown.get("CONFIG_BPF") is None and unknown.missing(("CONFIG_BPF",)) == ""
    monkeypatch.setattr(probe_rows, "config", unknown)
    row = answered("hook", "x", (3, 18), errno.EINVAL, what="", options=("CONFIG_A", "CONFIG_B"))
    assert row.status == "no" and not row.cause and "EINVAL" in row.reason
    assert row.remedy == "run a kernel with CONFIG_A=y and CONFIG_B=y"


@pytest.mark.parametrize(
    ("number", "good", "status"),
    [
        (0, (), "yes"),
        (errno.EBADF, (errno.EBADF,), "yes"),
        (errno.EBADF, (), "no"),
        (errno.EINVAL, (errno.EBADF,), "no"),
        (errno.EPERM, (), "forbidden"),
        (errno.EACCES, (), "forbidden"),
        (errno.ENOSYS, (), "no"),
        (errno.ENOMEM, (), "unknown"),
        (errno.EMFILE, (), "unknown"),
        (524, (), "no"),
    ],
)
def test_answers_of_the_kernel(built, number, good, status):
    built(BPF="y")
    row = answered("hook", "x", (3, 18), number, what="cannot x", good=good)
    assert row.status == status
    assert bool(row.remedy) == (status != "yes")


def test_policies_are_told_from_missing_rights(monkeypatch, built):
    built(BPF="y")

    def held(mask):
        monkeypatch.setattr(permissions, "current", lambda: permissions.Permissions(mask, True, "", {}))
        return answered("hook", "fentry", (3, 18), errno.EPERM, what="cannot load", needs=("bpf", "perfmon"))

    if release.has((5, 11)):
        assert "owner" in held(1 << 38 | 1 << 39).remedy and "every right is there" in held(1 << 21).reason
        missing = held(1 << 39)
        assert missing.reason == "CAP_PERFMON missing" and "setcap cap_perfmon" in missing.remedy


def test_contradictions():
    def said(status, version, cause=""):
        return contradictions([Row("helper", "h", status, version, "because", "do", cause)], (5, 10))

    assert "works" in said("yes", (5, 11))[0]
    assert "missing" in said("no", (5, 10))[0] and "because" in said("no", (5, 10))[0]
    assert not said("yes", (5, 10)) and not said("no", (5, 11)) and not said("no", (5, 10), "CONFIG_X")
    assert not said("forbidden", (5, 11)) and not said("unknown", (4, 1)) and not said("yes", None)


def test_a_row_as_plain_data():
    row = Row("hook", "x", "no", (5, 8), "why", "how", "CONFIG_X")
    assert row.plain() == {
        "area": "hook", "name": "x", "status": "no", "version": "5.8", "reason": "why", "remedy": "how",
    }  # fmt: skip
    assert Row("hook", "x", "yes").plain()["version"] is None
    assert "no, why" in repr(row)
