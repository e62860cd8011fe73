"""Objects and relocated collections in the running kernel, through Osmia's loader and through libbpf's."""

import os
import re
import shutil
import struct
import subprocess

import pytest
from hand_made import made_by_hand
from object_sources import program

from osmia.btf.reader import Btf
from osmia.object.core import poisoned, poisoned_in_log, relocate
from osmia.object.core_access import parse_access
from osmia.object.elf import read_object
from osmia.object.spec import MapSpec
from osmia.object.writer import attach_meta, write_object

pytestmark = pytest.mark.kernel
BPFTOOL = shutil.which("bpftool") or "/usr/sbin/bpftool"

WHOLE = """
struct value { int a; char name[16]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, struct value); __uint(max_entries, 8);
       } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int); __uint(max_entries, 2);
             } first SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps") = { .values = { 0, &first } };
int jumped(struct bpf_raw_tracepoint_args *ctx);
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); __uint(key_size, 4);
         __array(values, int (void *)); } jumps SEC(".maps") = { .values = { [1] = (void *)&jumped } };
extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_never_there_at_all(int) __ksym __weak;
extern const void bpf_prog_put __ksym;
struct task_struct { int pid; int tgid; struct task_struct *group_leader; int never_there; } CORE;
const volatile int factor = 3;
int weight = 7;
static volatile long visits;
__attribute__((noinline)) int global_sub(int x) { return x + weight; }
static __attribute__((noinline)) int static_sub(int x) { visits += x; return global_sub(x) * factor; }
static long visit(__u32 index, void *context) { *(int *)context += 2; visits++; return 0; }
SEC("raw_tp/sched_switch") int jumped(struct bpf_raw_tracepoint_args *ctx) { return 1234; }
SEC("raw_tp/sched_switch") int jumper(struct bpf_raw_tracepoint_args *ctx)
{
    bpf_tail_call(ctx, &jumps, 1);
    return 1;
}
SEC("raw_tp/sched_switch") int prog(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    int sum = 0, key = 1, *value;
    void *map;
    bpf_loop(5, visit, &sum, 0);
    if (sum != 10) return -1;
    if (static_sub(1) != (1 + 7) * 3) return -2;
    if (BPF_CORE_READ(task, group_leader, pid) != (int)(bpf_get_current_pid_tgid() >> 32)) return -3;
    if (bpf_core_field_exists(task->never_there)) return BPF_CORE_READ(task, never_there);
    map = bpf_map_lookup_elem(&outer, &key);
    if (!map || !(value = bpf_map_lookup_elem(map, &key))) return -4;
    if (bpf_never_there_at_all) bpf_never_there_at_all(1);
    if (!&bpf_prog_put) return -5;
    struct value entry = { .a = 5, .name = "five" };
    bpf_map_update_elem(&table, &key, &entry, BPF_ANY);
    return LINUX_KERNEL_VERSION >= (5 << 16) ? 4321 : -6;
}
"""


@pytest.fixture(params=["compiled", "written", "cached"])
def whole(request, compile_c, kernel_types):
    """The same collection as clang made it, as Osmia wrote it, and as a cache would keep it."""
    spec = read_object(compile_c(WHOLE), "whole")
    if request.param == "written":
        spec = read_object(write_object(spec), "whole")
    result = relocate(spec, kernel_types)
    return type(result).from_plain(result.plain()) if request.param == "cached" else result


def test_collection_runs(whole):
    from osmia.kernel.load import load

    with load(whole) as loaded:
        assert loaded.programs["prog"].test_run(context=bytes(16)).signed == 4321
        assert loaded.programs["jumper"].test_run(context=bytes(16)).signed == 1234
        assert loaded.maps["table"][1] == (5, "five")
        assert loaded.get_global("visits") == 6
        loaded.set_global("weight", 0)
        assert loaded.programs["prog"].test_run(context=bytes(16)).signed == -2


def test_refusal_of_an_unguarded_access_is_explained(compile_c, kernel_types):
    from osmia.diagnostics import LoadError
    from osmia.kernel.load import load

    source = "struct task_struct { int pidd; } CORE;" + program(
        "struct task_struct *t = (void *)bpf_get_current_task_btf(); sum = t->pidd;"
    )
    spec = relocate(read_object(compile_c(source), "bad"), kernel_types)
    ((_, slot, wanted, *_),) = spec.extras["core_poisoned"]
    assert wanted == "struct task_struct.pidd"
    with pytest.raises(LoadError) as caught:
        load(spec)
    assert "195896080" in caught.value.details
    error = poisoned_in_log(spec, "prog", caught.value.details, kernel_types)
    assert str(error) == str(poisoned(spec, "prog", slot, kernel_types))
    assert error.code == "CORE004" and "pid" in error.hint


@pytest.fixture
def bpffs(tmp_path):
    """A bpf file system of the test's own; what is pinned there goes with it."""
    place = tmp_path / "bpf"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "bpf", "bpf", str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a bpf file system: {done.stderr}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def load_with_libbpf(file, place, *options):
    if not os.path.exists(BPFTOOL):
        pytest.skip("needs bpftool")
    command = [BPFTOOL, *options, "prog", "loadall", str(file), str(place / "programs"), "pinmaps", str(place / "maps")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_libbpf_loads_what_was_compiled_and_what_was_written(compile_c, bpffs, tmp_path):
    data = compile_c(WHOLE)
    noted = attach_meta(data, {"format": 1})
    for index, made in enumerate((data, write_object(read_object(data, "whole")), noted)):
        file, place = tmp_path / "whole.bpf.o", bpffs / str(index)
        file.write_bytes(made)
        place.mkdir()
        done = load_with_libbpf(file, place)
        assert done.returncode == 0, done.stderr
        assert ".osmia" not in done.stderr, "libbpf passes over the notes in silence"
        assert sorted(os.listdir(place / "programs")) == ["jumped", "jumper", "prog"]
        assert {"table", "ring", "first", "outer", "jumps"} <= set(os.listdir(place / "maps"))


def test_libbpf_loads_a_collection_made_by_hand(bpffs, tmp_path):
    spec = made_by_hand()
    # An arena needs a kernel of 6.9, and a map pinned by name would land outside of the test's file system.
    del spec.maps["arena"], spec.maps["huge"]
    spec.maps["started"].pin = ""
    spec.maps["more"] = MapSpec("more", "percpu_array", key_size=4, value_size=24, max_entries=3)
    file = tmp_path / "hand.bpf.o"
    file.write_bytes(write_object(spec))
    place = bpffs / "hand"
    place.mkdir()
    # The prog array's program has the same name as the entry, which is a uprobe: it may hold itself.
    done = load_with_libbpf(file, place)
    assert done.returncode == 0, done.stderr
    assert os.listdir(place / "programs") == ["entry"]


PATCHED = re.compile(
    r"prog '(\w+)': relo #\d+: patched insn #(\d+) \((?:LDX/ST/STX|ALU/ALU64|LDIMM64)\) \w+ -?\w+ -> (-?\w+)"
)

DIFFERENTIAL = """
struct path { struct dentry *dentry; } CORE; struct qstr { const unsigned char *name; } CORE;
struct dentry { struct qstr d_name; struct dentry *d_parent; unsigned d_flags; } CORE;
struct file { struct path f_path; unsigned f_flags; unsigned char f_mode___not; } CORE;
struct net_device { char name[16]; int ifindex; unsigned mtu; } CORE;
struct sk_buff { struct net_device *dev; unsigned len, data_len; unsigned short protocol;
                 unsigned char pkt_type : 3, cloned : 1, nohdr : 1, ip_summed : 2; } CORE;
struct sock_common { unsigned short skc_family; volatile unsigned char skc_state; unsigned char skc_reuse : 4; } CORE;
struct sock { struct sock_common __sk_common; int sk_rcvbuf; unsigned char sk_no_check_tx : 1; } CORE;
struct cpumask { unsigned long bits[1]; } CORE;
struct task_struct___a { unsigned int __state; unsigned in_iowait : 1, sched_reset_on_fork : 1; int prio; char comm[16];
                         struct task_struct___a *group_leader; unsigned long long utime; } CORE;
enum bpf_func_id___x { BPF_FUNC_ringbuf_output___x, BPF_FUNC_never_seen___x };
enum tcp_state { TCP_ESTABLISHED = 90, TCP_LISTEN = 91 };
union thread_union { int z; } CORE;
typedef struct { int counter; } atomic_t;
"""


def test_values_equal_those_of_libbpf(compile_c, kernel_types, bpffs, tmp_path):
    """Everything that libbpf says it patched, for the same object against the same kernel."""
    fields = (
        ("file", "f_path.dentry"), ("file", "f_flags"), ("file", "f_mode___not"), ("dentry", "d_name.name"),
        ("dentry", "d_parent"), ("net_device", "name"), ("net_device", "name[5]"), ("net_device", "mtu"),
        ("sk_buff", "len"), ("sk_buff", "dev"), ("sk_buff", "protocol"), ("sock", "__sk_common.skc_family"),
        ("sock", "sk_rcvbuf"), ("sock", "__sk_common.skc_state"), ("cpumask", "bits[0]"), ("task_struct___a", "comm"),
        ("task_struct___a", "prio"), ("task_struct___a", "group_leader"), ("task_struct___a", "__state"),
    )  # fmt: skip
    bits = (
        ("sk_buff", "pkt_type"), ("sk_buff", "cloned"), ("sk_buff", "ip_summed"), ("sock", "__sk_common.skc_reuse"),
        ("sock", "sk_no_check_tx"), ("task_struct___a", "in_iowait"), ("task_struct___a", "sched_reset_on_fork"),
    )  # fmt: skip
    info = "__builtin_preserve_field_info(((struct {0} *)p)->{1}, {2})"
    body = []
    for struct_, field in fields:
        kinds = (2,) if "not" in field else (0, 2) if "[" in field else (0, 1, 2)
        body += [info.format(struct_, field, kind) for kind in kinds if not ("[" in field and kind == 2)]
    body += [info.format(struct_, field, kind) for struct_, field in bits for kind in range(6)]
    for name in ("struct file", "struct task_struct___a", "union thread_union", "atomic_t", "struct nothing_like_it"):
        body += [f"bpf_core_type_exists({name})", f"bpf_core_type_size({name})", f"bpf_core_type_id_kernel({name})"]
    body += ["bpf_core_enum_value(enum bpf_func_id___x, BPF_FUNC_ringbuf_output___x)"]
    body += ["bpf_core_enum_value_exists(enum bpf_func_id___x, BPF_FUNC_never_seen___x)"]
    source = DIFFERENTIAL + "struct nothing_like_it { int a; } CORE;\n" + (
        "volatile unsigned long out;\n"
        + 'SEC("raw_tp/sched_switch") int prog(void **ctx) { void *p = ctx[0];\n'
        + "".join(f"    out += {expression};\n" for expression in body)
        + "    struct net_device *d = ctx[1]; struct sk_buff *s = bpf_get_current_task_btf() ? ctx[2] : 0; int v = 0;\n"
        + "    bpf_core_read(&v, 4, &d->mtu); bpf_core_read(&v, 4, &s->len); out += v; return 0; }\n"
    )  # fmt: skip
    data = compile_c(source)
    file = tmp_path / "diff.bpf.o"
    file.write_bytes(data)
    done = load_with_libbpf(file, bpffs, "-d")
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = {}
    for name, slot, value in PATCHED.findall(done.stderr):
        theirs[name, int(slot)] = int(value, 0)
    spec = read_object(data, "diff")
    local = Btf.from_bytes(spec.btf)
    result = relocate(spec, kernel_types)
    compared = 0
    for name, old in spec.programs.items():
        code = result.programs[name].insns
        for core in old.core:
            opcode, _, off, imm = struct.unpack_from("<BBhi", code, core.insn * 8)
            ours = off if opcode & 7 in (1, 2, 3) else imm
            if opcode == 0x18:
                ours = (imm & 0xFFFFFFFF) | struct.unpack_from("<I", code, core.insn * 8 + 12)[0] << 32
            text = parse_access(local, core.type_id, core.access, core.kind).text()
            assert theirs[name, core.insn] == ours, f"{text}, kind {core.kind}"
            compared += 1
    assert compared > 100
