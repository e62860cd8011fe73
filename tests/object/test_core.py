"""CO-RE relocation, against targets made of other C sources and against the running kernel's types."""

import struct

import pytest
from object_sources import ACCESS, INFO, IR, LOCAL, TARGET, program

from osmia.btf.ext import RELO_KINDS, RELO_TYPE_EXISTS, RELO_TYPE_MATCHES
from osmia.btf.reader import Btf
from osmia.btf.types import AnyEnum, Struct
from osmia.btf.writer import BtfBuilder
from osmia.diagnostics import RelocationError
from osmia.object.core import POISON, poisoned, relocate
from osmia.object.core_access import parse_access
from osmia.object.elf import read_object
from osmia.object.spec import CoreReloc

KIND = {name: number for number, (name, _, _) in enumerate(RELO_KINDS)}


def value_at(insns, slot):
    """What a relocation left in an instruction: ``("poison", None)`` or (class, value)."""
    opcode, _, off, imm = struct.unpack_from("<BBhi", insns, slot * 8)
    if (opcode, imm) == (0x85, POISON):
        return "poison", None
    if opcode == 0x18:
        return "wide", (imm & 0xFFFFFFFF) | struct.unpack_from("<I", insns, slot * 8 + 12)[0] << 32
    if opcode & 7 in (4, 7):
        return "alu", imm
    return {0x00: "w", 0x08: "h", 0x10: "b", 0x18: "dw"}[opcode & 0x18], off


class Fitted:
    """A C source relocated against another: answers by what was asked for."""

    def __init__(self, compile_c, source, target, change=None):
        spec = read_object(compile_c(INFO + source), "local")
        if change:
            change(spec)
        if not isinstance(target, Btf):
            target = Btf.from_bytes(read_object(compile_c(target), "target").btf)
        self.target = target
        self.result = relocate(spec, target)
        local = Btf.from_bytes(spec.btf)
        self.found = {}
        for name, old in spec.programs.items():
            new = self.result.programs[name]
            assert not new.core and len(new.insns) == len(old.insns)
            for core in old.core:
                text = parse_access(local, core.type_id, core.access, core.kind).text()
                self.found.setdefault((text, RELO_KINDS[core.kind][0]), []).append(value_at(new.insns, core.insn))

    def __getitem__(self, key):
        values = set(self.found[key])
        assert len(values) == 1, values
        return values.pop()

    def number(self, text, kind):
        return self[text, kind][1]


def types(declarations, *names):
    """A C source whose BTF has these types."""
    return declarations + "".join(f"{name} *keep_{index};\n" for index, name in enumerate(names))


def test_fields(compile_c):
    fitted = Fitted(compile_c, LOCAL + ACCESS, types(TARGET, "struct task"))
    place = fitted.target.find_member
    task = fitted.target.by_name("task", Struct)
    offset = "field_byte_offset"
    for path in ("pid", "comm", "comm[3]", "child.b", "parent", "in_union"):
        assert fitted.number(f"struct task.{path}", offset) == place(task, path).offset, path
    assert fitted.number("struct task.table[2][1]", offset) == place(task, "table").offset + (2 * 3 + 1) * 4
    assert fitted.number("struct task.tail[2].b", offset) == place(task, "tail").offset + 2 * 16 + 8
    assert fitted.number("struct task[2].pid", offset) == 2 * task.size + place(task, "pid").offset
    assert fitted.number("struct task.comm", "field_byte_size") == 32
    assert fitted.number("struct task.level", "field_byte_size") == 4
    assert fitted.number("struct task.wide", "field_byte_size") == 4
    assert fitted.number("struct task.child", "field_byte_size") == 16
    assert fitted.number("struct task.pid", "field_exists") == 1
    assert fitted.number("struct task.gone", "field_exists") == 0
    assert fitted["struct task.gone", offset] == ("poison", None)
    assert fitted.number("struct task.turned", "field_signed") == 1
    assert fitted.number("struct task.level", "field_signed") == 0


def test_loads_and_stores_change_offset_and_size(compile_c):
    source = LOCAL + program("""
        struct task *t = ctx[0];
        sum += t->level; sum += t->wide; sum += (long)t->parent; sum += t->child.a;
    """)
    fitted = Fitted(compile_c, source, types(TARGET, "struct task"))
    task = fitted.target.by_name("task", Struct)
    place = fitted.target.find_member
    assert fitted["struct task.level", "field_byte_offset"] == ("w", place(task, "level").offset), "u16 became u32"
    assert fitted["struct task.wide", "field_byte_offset"] == ("w", place(task, "wide").offset), "u64 became u32"
    assert fitted["struct task.parent", "field_byte_offset"] == ("dw", place(task, "parent").offset)
    assert fitted["struct task.child.a", "field_byte_offset"] == ("w", place(task, "child.a").offset)


def test_signed_field_of_another_size_is_poisoned(compile_c):
    source = LOCAL + program("struct task *t = ctx[0]; sum += t->turned;")
    fitted = Fitted(compile_c, source, types(TARGET, "struct task"))
    assert fitted["struct task.turned", "field_byte_offset"] == ("poison", None)
    (row,) = fitted.result.extras["core_poisoned"]
    assert row[0] == "prog" and row[2] == "struct task.turned" and "8 bytes in the kernel" in row[3]
    error = poisoned(fitted.result, "prog", row[1])
    assert error.code == "CORE004" and error.span.file.endswith("prog.c") and error.span.line > 0
    assert poisoned(fitted.result, "prog", row[1] + 1) is None


def test_flavors_and_missing_types(compile_c):
    source = """
    struct task___old { long start; } CORE;
    struct task___new { long begin; } CORE;
    struct never { int x; } CORE;
    """ + program("""
        struct task___old *o = ctx[0]; struct task___new *n = ctx[1]; struct never *v = ctx[2];
        if (INFO(o->start, 2)) sum = o->start; else sum = n->begin;
        sum += bpf_core_type_exists(struct never) + bpf_core_type_size(struct never)
             + bpf_core_type_id_kernel(struct never) + v->x;
    """)
    fitted = Fitted(compile_c, source, types("struct task { long a; long begin; };", "struct task"))
    assert fitted.number("struct task___old.start", "field_exists") == 0
    assert fitted["struct task___old.start", "field_byte_offset"] == ("poison", None)
    assert fitted.number("struct task___new.begin", "field_byte_offset") == 8
    for kind in ("type_exists", "type_size", "type_id_target"):
        assert fitted.number("struct never", kind) == 0
    error = poisoned(fitted.result, "prog", fitted.result.extras["core_poisoned"][-1][1], fitted.target)
    assert "no struct never" in error.message


def test_nearest_field_is_named(compile_c):
    source = "struct task { int exit_stat; } CORE;" + program("struct task *t = ctx[0]; sum = t->exit_stat;")
    fitted = Fitted(compile_c, source, types("struct task { int exit_state; int pid; };", "struct task"))
    (row,) = fitted.result.extras["core_poisoned"]
    error = poisoned(fitted.result, "prog", row[1], fitted.target)
    assert "exit_state" in error.hint and "no such field" in error.message


BITS = """
struct flags {{ {padding}; unsigned int first : 3; int second : 5; unsigned long long third : 33; {tail};
               unsigned char byte : 2; unsigned plain; }} {attribute};
"""


@pytest.mark.parametrize("field", ["first", "second", "third", "byte", "plain"])
def test_bit_fields_read_what_was_written(compile_c, field):
    """The five numbers of a bit-field, used as BPF_CORE_READ_BITFIELD uses them, give the field's value."""
    source = BITS.format(padding="int p", tail="int q", attribute="CORE") + program(
        "struct flags *f = ctx[0];" + "".join(f"sum += INFO(f->{field}, {kind});" for kind in (0, 1, 3, 4, 5))
    )
    target = types(
        BITS.format(padding="char a[7]; unsigned x : 6", tail="long q; int r : 7", attribute=""), "struct flags"
    )
    fitted = Fitted(compile_c, source, target)
    from osmia.object.btf_layout import layout_of

    layout = layout_of(fitted.target, fitted.target.by_name("flags", Struct).id)
    wanted = {"first": 5, "second": -7, "third": (1 << 33) - 3, "byte": 2, "plain": 0xDEADBEEF}
    data = layout.pack({**dict.fromkeys(wanted, 0), **wanted, "x": 63, "r": -1})
    text = f"struct flags.{field}"
    offset, size = fitted.number(text, "field_byte_offset"), fitted.number(text, "field_byte_size")
    value = int.from_bytes(data[offset : offset + size], "little")
    value = value << fitted.number(text, "field_lshift_u64") & (1 << 64) - 1
    if fitted.number(text, "field_signed") and value >> 63:
        value -= 1 << 64
    assert value >> fitted.number(text, "field_rshift_u64") == wanted[field]


ENUMS = """
enum color { RED, GREEN = 7, BLUE___old = 9, LOST = 11, NEG = -5 };
enum big { SMALL = 1, HUGE = 0x123456789abLL };
"""


def test_enumerators(compile_c):
    source = ENUMS + program("".join(
        f"sum += bpf_core_enum_value_exists(enum {e}, {n}) + bpf_core_enum_value(enum {e}, {n});"
        for e, n in (("color", "GREEN"), ("color", "BLUE___old"), ("color", "LOST"), ("color", "NEG"))
    ))  # fmt: skip
    target = types("enum color { BLUE = 1, RED = 2, GREEN = 40, NEG = -6 };", "enum color")
    fitted = Fitted(compile_c, source, target)
    for name, value in (("GREEN", 40), ("BLUE___old", 1)):
        assert fitted.number(f"enum color {name}", "enumval_exists") == 1
        assert fitted.number(f"enum color {name}", "enumval_value") == value
    assert fitted.number("enum color LOST", "enumval_exists") == 0
    assert fitted["enum color LOST", "enumval_value"] == ("poison", None)
    assert fitted.number("enum color NEG", "enumval_value") & 0xFFFFFFFF == -6 & 0xFFFFFFFF


def test_wide_enumerators(compile_c):
    """An enum may have become a 64-bit one."""
    from osmia.btf.types import Enum64, Enumerator

    builder = BtfBuilder()
    builder.add(Enum64("color", 8, [Enumerator("GREEN", 0x123456789AB), Enumerator("NEG", -3)], True))
    source = ENUMS + program(
        "sum += bpf_core_enum_value(enum color, GREEN); sum += bpf_core_enum_value(enum color, NEG);"
    )
    fitted = Fitted(compile_c, source, builder.build())
    assert fitted["enum color GREEN", "enumval_value"] == ("wide", 0x123456789AB)
    assert fitted["enum color NEG", "enumval_value"] == ("wide", (1 << 64) - 3)


def test_types(compile_c):
    source = """
    struct task { int pid; } CORE; typedef int number; typedef struct { int a; } anonymous; union choice { int a; };
    enum mode { A }; typedef int (*callback)(int, long);
    """ + program("".join(
        f"sum += bpf_core_type_exists({t}) + bpf_core_type_size({t}) + bpf_core_type_id_kernel({t})"
        f" + bpf_core_type_id_local({t});"
        for t in ("struct task", "number", "anonymous", "union choice", "enum mode", "callback")
    ))  # fmt: skip
    declared = """
    struct task { char pad[40]; }; typedef unsigned long number; typedef struct { char c[3]; } anonymous;
    struct choice { int a; }; enum mode { B }; typedef int (*callback)(int);
    """
    names = ("struct task", "number", "anonymous", "struct choice", "enum mode", "callback")
    fitted = Fitted(compile_c, source, types(declared, *names))
    sizes = {"struct task": 40, "typedef number": 8, "typedef anonymous": 3, "enum mode": 4}
    for name, size in sizes.items():
        assert fitted.number(name, "type_exists") == 1
        assert fitted.number(name, "type_size") == size
        target = fitted.target.by_id(fitted.number(name, "type_id_target"))
        assert f"{target.kind_name} {target.name}" == name
    for name in ("union choice", "typedef callback"):
        assert fitted.number(name, "type_exists") == 0, "of another kind, or with other parameters"
    local = Btf.from_bytes(fitted.result.btf)
    for name in sizes:
        found = local.by_id(fitted.number(name, "type_id_local"))
        assert f"{found.kind_name} {found.name}" == name


MATCHES = [
    ("struct t { int a; long b; };", "struct t { long b; int a; char more; };", 1),
    ("struct t { int a; };", "struct t { unsigned a; };", 0),
    ("struct t { int a; };", "struct t { long a; };", 0),
    ("struct t { int a; int b; };", "struct t { int a; };", 0),
    ("struct u { int x; }; struct t { struct u *u; };", "struct u { long y; }; struct t { struct u *u; };", 1),
    ("struct u { int x; }; struct t { struct u u; };", "struct u { long y; }; struct t { struct u u; };", 0),
    ("struct u; struct t { struct u *u; };", "struct u { long y; }; struct t { struct u *u; };", 1),
    ("struct u; struct t { struct u *u; };", "union u { long y; }; struct t { union u *u; };", 0),
    ("enum e { A, B }; struct t { enum e e; };", "enum e { C, B = 5, A }; struct t { enum e e; };", 1),
    ("enum e { A, B }; struct t { enum e e; };", "enum e { A }; struct t { enum e e; };", 0),
    ("struct t { int (*f)(int); };", "struct t { int (*f)(int); };", 1),
    ("struct t { int (*f)(int); };", "struct t { int (*f)(long); };", 0),
    ("struct t { int a[4]; };", "struct t { int a[5]; };", 0),
    ("struct t___mine { int a; };", "struct t { const volatile int a; };", 1),
]


@pytest.mark.parametrize(("ours", "theirs", "answer"), MATCHES)
def test_type_matches(compile_c, ours, theirs, answer):
    """clang 14 does not know the kind yet: the question for existence is turned into one for a match."""
    name = "struct t___mine" if "t___mine" in ours else "struct t"

    def change(spec):
        for core in spec.programs["prog"].core:
            assert core.kind == RELO_TYPE_EXISTS
            core.kind = RELO_TYPE_MATCHES

    fitted = Fitted(
        compile_c, ours + program(f"sum += bpf_core_type_exists({name});"), types(theirs, "struct t"), change
    )
    assert fitted.number(name, "type_matches") == answer


COMPATIBLE = [
    ("int f", "unsigned char f", True),
    ("int f", "int f : 7", True),
    ("int f", "int *f", False),
    ("int *f", "struct z *f", True),
    ("struct s { int q; } f", "union s { long q; } f", True),
    ("enum e { A } f", "enum e___x { B } f", True),
    ("enum e { A } f", "enum other { B } f", False),
    ("enum e { A } f", "int f", False),
    ("int f[3]", "long f[7]", True),
    ("int f[3]", "int f", False),
    ("int f", "double f", False),
]


@pytest.mark.parametrize(("ours", "theirs", "answer"), COMPATIBLE)
def test_field_types_must_be_compatible(compile_c, ours, theirs, answer):
    source = f"struct t {{ {ours}; }} CORE;" + program("struct t *t = ctx[0]; sum += INFO(t->f, 2);")
    target = types(f"struct t {{ long before; {theirs}; }};", "struct t")
    assert Fitted(compile_c, source, target).number("struct t.f", "field_exists") == answer


def two_structs(first, second):
    """A BTF with two structs of one name."""
    from osmia.btf.types import Int, Member

    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    for size, offset in (first, second):
        builder.add(Struct("ring", size, [Member("head", number, offset * 8)]))
    return builder.build()


RING = "struct ring { int head; } CORE;" + program("struct ring *r = ctx[0]; sum = r->head;")


def test_ambiguous_target_is_refused(compile_c):
    with pytest.raises(RelocationError) as caught:
        Fitted(compile_c, RING, two_structs((8, 0), (8, 4)))
    error = caught.value
    assert error.code == "CORE002" and "struct ring.head" in error.message
    assert error.span.file.endswith("prog.c") and "prog" in error.notes[0][0]


def test_two_types_that_agree_are_fine(compile_c):
    fitted = Fitted(compile_c, RING, two_structs((8, 4), (16, 4)))
    assert fitted["struct ring.head", "field_byte_offset"] == ("w", 4)


def test_modules_are_searched_when_the_kernel_has_nothing(compile_c):
    from osmia.btf.types import Int, Member

    base = BtfBuilder()
    number = base.add(Int("int", 4, 1))
    kernel = base.build()
    builder = BtfBuilder(kernel)
    builder.add(Struct("ring", 16, [Member("head", number, 96)]))
    module = builder.build()
    spec = read_object(compile_c(INFO + RING), "ring")

    def found(target, modules):
        core = spec.programs["prog"].core[0]
        return value_at(relocate(spec, target, modules).programs["prog"].insns, core.insn)

    assert found(kernel, [module]) == ("w", 12)
    assert found(kernel, iter([module])) == ("w", 12)
    assert found(kernel, ()) == ("poison", None)
    assert found(two_structs((8, 4), (8, 4)), (exec("raise AssertionError") for _ in "x")) == ("w", 4)


def test_offsets_beyond_16_bits(compile_c):
    source = "struct t { int f; } CORE;" + program("struct t *t = ctx[0]; sum = t->f;")
    with pytest.raises(RelocationError, match=r"CORE003.*40000"):
        Fitted(compile_c, source, types("struct t { char pad[40000]; int f; };", "struct t"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda core: setattr(core, "access", "0:99"), "CORE001"),
        (lambda core: setattr(core, "access", "0:0:0"), "CORE001"),
        (lambda core: setattr(core, "access", ""), "CORE001"),
        (lambda core: setattr(core, "access", "x"), "CORE001"),
        (lambda core: setattr(core, "kind", 77), "CORE001"),
        (lambda core: setattr(core, "kind", -1), "CORE001"),
        (lambda core: setattr(core, "kind", KIND["enumval_value"]), "CORE001"),
        (lambda core: setattr(core, "insn", 9999), "CORE001"),
        (lambda core: setattr(core, "insn", -1), "CORE001"),
        (lambda core: setattr(core, "type_id", 1 << 20), "BTF008"),
        (lambda core: setattr(core, "kind", KIND["type_id_local"]), "CORE001"),
        (lambda core: setattr(core, "insn", core.insn + 1), "CORE003"),
    ],
)
def test_malformed_relocations(compile_c, change, code):
    spec = read_object(compile_c(INFO + RING), "ring")
    (core,) = spec.programs["prog"].core
    change(core)
    with pytest.raises(RelocationError) as caught:
        relocate(spec, two_structs((8, 4), (8, 4)))
    assert caught.value.code == code


def test_instruction_must_hold_what_the_types_say(compile_c):
    spec = read_object(compile_c(INFO + RING), "ring")
    prog = spec.programs["prog"]
    slot = prog.core[0].insn
    code = bytearray(prog.insns)
    struct.pack_into("<h", code, slot * 8 + 2, 24)
    prog.insns = bytes(code)
    with pytest.raises(RelocationError, match=r"CORE003.*holds 24"):
        relocate(spec, two_structs((8, 4), (8, 4)))


def test_collection_without_types(compile_c):
    spec = read_object(compile_c(INFO + RING), "ring")
    spec.btf = b""
    with pytest.raises(RelocationError, match="CORE005"):
        relocate(spec, two_structs((8, 4), (8, 4)))


def test_relocation_leaves_the_original_alone(compile_c):
    spec = read_object(compile_c(INFO + RING), "ring")
    before = spec.plain()
    new = relocate(spec, two_structs((8, 4), (8, 4)))
    assert spec.plain() == before and new.programs["prog"].insns != spec.programs["prog"].insns
    again = relocate(new, two_structs((8, 4), (8, 4)))
    assert again.plain() == new.plain()


def test_relocations_of_subprograms_move_along(compile_c):
    source = (
        "struct ring { int head; } CORE; struct other { long a; int b; } CORE;"
        + """
    static __attribute__((noinline)) int sub(struct other *o) { asm volatile(""); return o->b; }
    SEC("raw_tp/a") int first(void **ctx) { struct ring *r = ctx[0]; return r->head + sub(ctx[1]); }
    SEC("raw_tp/b") int second(void **ctx) { return sub(ctx[1]); }
    """
    )
    target = types("struct ring { long x; int head; }; struct other { int b; };", "struct ring", "struct other")
    fitted = Fitted(compile_c, source, target)
    assert fitted.found["struct other.b", "field_byte_offset"] == [("w", 0)] * 2
    assert fitted["struct ring.head", "field_byte_offset"] == ("w", 8)


KERNEL = """
struct load { unsigned long weight; } CORE;
struct entity { struct load load; unsigned char on_rq; } CORE;
struct mm___mine { int x; } CORE;
struct nsproxy { struct net *net_ns; } CORE;
struct cred { struct { unsigned val; } uid; } CORE;
struct task_struct {
    int pid; int tgid; char comm[16]; struct task_struct *real_parent; struct nsproxy *nsproxy;
    unsigned sched_reset_on_fork : 1;
    unsigned in_execve : 1; const struct cred *cred; int not_in_any_kernel; unsigned long long start_boottime;
} CORE;
struct sk_buff { unsigned len; unsigned char pkt_type : 3; unsigned char ip_summed : 2; } CORE;
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID };
enum bpf_map_type { BPF_MAP_TYPE_NEVER = 99999 };
struct no_such_struct_at_all { int a; } CORE;
"""


def test_against_the_running_kernel(compile_c, kernel_types):
    source = KERNEL.replace("enum bpf_map_type { BPF_MAP_TYPE_NEVER = 99999 };", "") + program("""
        struct task_struct *t = ctx[0]; struct sk_buff *s = ctx[1]; struct no_such_struct_at_all *n = ctx[2];
        sum += INFO(t->pid, 0) + INFO(t->tgid, 0) + INFO(t->comm, 0) + INFO(t->comm, 1) + INFO(t->real_parent, 0);
        sum += INFO(t->not_in_any_kernel, 2) + INFO(t->start_boottime, 2) + INFO(t->nsproxy, 0);
        sum += INFO(s->pkt_type, 0) + INFO(s->pkt_type, 1) + INFO(s->pkt_type, 4) + INFO(s->pkt_type, 5);
        sum += INFO(s->ip_summed, 0) + INFO(s->ip_summed, 1) + INFO(s->ip_summed, 4) + INFO(s->ip_summed, 5);
        sum += bpf_core_type_size(struct task_struct) + bpf_core_type_id_kernel(struct sk_buff);
        sum += bpf_core_type_exists(struct no_such_struct_at_all) + t->pid + s->len;
        sum += bpf_core_enum_value(enum pid_type, PIDTYPE_SID);
        sum += (long)t->real_parent + t->real_parent->tgid;
    """)
    fitted = Fitted(compile_c, source, kernel_types)
    place = kernel_types.find_member
    task, packet = (kernel_types.by_name(name, Struct) for name in ("task_struct", "sk_buff"))
    for field in ("pid", "tgid", "comm", "real_parent", "nsproxy"):
        values = {v for _, v in fitted.found[f"struct task_struct.{field}", "field_byte_offset"]}
        assert values == {place(task, field).offset}, field
    assert fitted.number("struct task_struct.comm", "field_byte_size") == 16
    assert fitted.number("struct task_struct.not_in_any_kernel", "field_exists") == 0
    assert fitted.number("struct task_struct.start_boottime", "field_exists") == 1
    assert fitted.number("struct task_struct", "type_size") == task.size
    assert kernel_types.by_id(fitted.number("struct sk_buff", "type_id_target")) == packet
    assert fitted.number("struct no_such_struct_at_all", "type_exists") == 0
    enum = kernel_types.by_name("pid_type", AnyEnum)
    wanted = next(value.value for value in enum.values if value.name == "PIDTYPE_SID")
    assert fitted.number("enum pid_type PIDTYPE_SID", "enumval_value") == wanted
    for field in ("pkt_type", "ip_summed"):
        found = place(packet, field)
        text = f"struct sk_buff.{field}"
        start, size = fitted.number(text, "field_byte_offset"), fitted.number(text, "field_byte_size")
        shift = found.bit_offset - start * 8
        assert shift >= 0 and shift + found.bit_size <= size * 8
        assert fitted.number(text, "field_lshift_u64") == 64 - shift - found.bit_size
        assert fitted.number(text, "field_rshift_u64") == 64 - found.bit_size


def test_only_wanted_types_of_the_kernel_are_decoded(compile_c, kernel_types):
    fresh = Btf(kernel_types.raw)
    source = "struct task_struct { int pid; } CORE;" + program("struct task_struct *t = ctx[0]; sum = t->pid;")
    relocate(read_object(compile_c(INFO + source), "x"), fresh)
    assert len(fresh._types) < 2000 < fresh.end_id


def test_object_made_by_llvm_in_process(compile_ir, kernel_types):
    spec = read_object(compile_ir(IR), "llvm")
    prog = spec.programs["prog"]
    (core,) = prog.core
    assert (core.access, core.kind) == ("0:1", KIND["field_byte_offset"])
    assert prog.lines[0].file.endswith("prog.py") and prog.lines[0].line in (3, 4)
    wanted = kernel_types.find_member(kernel_types.by_name("task_struct", Struct), "tgid").offset
    assert value_at(relocate(spec, kernel_types).programs["prog"].insns, core.insn)[1] == wanted


def test_unknown_kinds_of_relocation_are_listed_by_number(compile_c):
    spec = read_object(compile_c(INFO + RING), "ring")
    spec.programs["prog"].core.append(CoreReloc(0, 1, "0", 99))
    with pytest.raises(RelocationError, match="99"):
        relocate(spec, two_structs((8, 4), (8, 4)))
