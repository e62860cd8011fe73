"""Every error of the front end, by a program that gives it: code, marked text, and a hint where one is due."""

import re
from pathlib import Path

import pytest

import osmia
from osmia.btf import kernel_btf
from osmia.diagnostics import CompileError, UsageError
from osmia.diagnostics.render import render

SYSCALL = "@prog.syscall\ndef main() -> int:\n"
XDP = "@prog.xdp\ndef main(ctx: XdpContext) -> int:\n"


def body(text, head=SYSCALL, tail="    return 0\n"):
    return head + "".join(f"    {line}\n" for line in text.split("\n")) + tail


# code: (program, marked text)
CASES = {
    "PY103": (body("x = 0.5"), "0.5"),
    "PY104": (body("x = " + " + ".join(["pid()"] * 800)), None),
    "PY105": (body("x: u8 = 256"), "256"),
    "PY105 wide": (body("x = 1 << 70"), "1 << 70"),
    "PY106": (body("x = pid() + comm"), "comm"),
    "PY106 option": ('o = prog.option("o", u32, 1)\n' + body("x = o + 1"), "o"),
    "PY107": (body("x = 1 // 0"), "1 // 0"),
    "PY108": (body("x = comm() + '!'"), "comm() + '!'"),
    "PY109": (body("x = pid() / 2"), "pid() / 2"),
    "PY110": (body("x = u8(pid()) << 8"), "u8(pid()) << 8"),
    "PY111": (body("x = 2 ** pid()"), "2 ** pid()"),
    "PY112": (body("x = ~(pid() > 1)"), "pid() > 1"),
    "PY113": ("v = prog.var(u32)\n" + body("if v:\n    pass"), "v"),
    "PY114": (body("x = pid() is 5"), "5"),
    "PY115": (body("x = comm() == 5"), "5"),
    "PY116": (body("x = 'a' in comm()"), "comm()"),
    "PY117": ("MANY = tuple(str(i) for i in range(300))\n" + body("x = comm() in MANY"), "MANY"),
    "PY118": (body("x = comm() == 'a\\0'"), "'a\\0'"),
    "PY119": (body("x = comm().startswith(comm())"), "comm()"),
    "PY120": (body("x = [1, 2]\ny = x[2]"), "2"),
    "PY121": ('o = prog.option("o", u32, 1)\n' + body("o.value = 2"), "2"),
    "PY122": ("@prog.struct\nclass S:\n    aa: u32\n" + body("s = S(1)\nx = s.ab"), "s.ab"),
    "PY123": ("v = prog.var(bool)\n" + body("v.value = 1"), "1"),
    "PY124": (body("x = []"), "[]"),
    "PY125": ("m = prog.hash(u32, u8)\n" + body("m[1] += 1"), "m[1] += 1"),
    "PY130": ("from osmia.ktypes import task_strct\n" + body("t = cast(5, task_strct)"), "task_strct"),
    "PY131": (body("x = current().tgidd"), "current().tgidd"),
    "PY133": (body("x = current()[0]"), "current()[0]"),
    "PY134": (body("x = addr(5)"), "5"),
    "PY135": (body("x = field_exists(5)"), "5"),
    "PY136": ("from osmia.ktypes import pid_type\n" + body("x = enum_value(pid_type.PIDTYPE_SIDD)"), "pid_type.PIDTYPE_SIDD"),
    "PY140": ('other = Program("other")\nm = other.hash(u32, u32)\n' + body("m[1] = 2"), "m[1]"),
    "PY142": ('T = [1, "two"]\n' + body("x = T[pid()]"), "T[pid()]"),
    "PY143": ("t = prog.prog_array(4)\n" + body("x = t[0]"), "t[0]"),
    "PY144": ("@prog.struct\nclass S:\n    a: u32\nm = prog.hash(u32, S)\n" + body("x = m.get(1, S(1))"), "S(1)"),
    "PY145": ("m = prog.hash(u32, u32)\n" + body("x = m[1]"), "m[1]"),
    "PY146": ("m = prog.array(u32, 4)\n" + body("del m[1]"), "m[1]"),
    "PY147": ("@prog.struct\nclass S:\n    a: u32\nm = prog.hash(u32, S)\n" + body("m[1] += 1"), "m[1] += 1"),
    "PY148": ("h = prog.histogram()\n" + body("h[1].record(2)"), "h[1].record(2)"),
    "PY149": ("s = prog.task_storage(u64)\n" + body("x = s.get(5)"), "5"),
    "PY150": ("s = prog.sockmap(4)\n" + body("return s.redirect(1)", "@prog.sk_skb('verdict')\ndef main(skb: SkbContext) -> int:\n", ""),
              "s.redirect(1)"),
    "PY151": ("class C:\n    x = 1\n" + body("y = C.z"), "C.z"),
    "PY152": ("m = prog.hash(u32, u32)\n" + body("x = m.get"), "m.get"),
    "PY153": (body("x = comm()[0:2]"), "comm()[0:2]"),
    "PY160": ("v = prog.var(u32)\n" + body("v.value: u32 = 1"), "v.value"),
    "PY161": (body("x = 1\nx: u64 = 2"), "x"),
    "PY162": (body("x: float = 1"), "float"),
    "PY164": (body("x = printk('a')"), "printk('a')"),
    "PY165": (body("x, y = 1, 2, 3"), "1, 2, 3"),
    "PY166": (body("if pid():\n    x = 1\ny = x"), "x"),
    "PY167": (body("x = pidd()"), "pidd"),
    "PY170": (body("with pid():\n    pass"), None),
    "PY171": (body("x = current() and 5"), "current()"),
    "PY172": (body("pid() + 1"), "pid() + 1"),
    "PY173": (body("x = 1\ndel x"), "x"),
    "PY174": (body("assert pid(), pid()"), "pid()"),
    "PY175": (body("match pid():\n    case True:\n        pass"), "True"),
    "PY176": (body("for i in range(0, 10, pid()):\n    pass"), "range(0, 10, pid())"),
    "PY177": (body("for i in range(10000000):\n    pass"), "range(10000000)"),
    "PY178": (body("for c in comm():\n    pass"), "comm()"),
    "PY180": (body("x = input()"), "input"),
    "PY181": ("@prog.begin\ndef start() -> None:\n    pass\n" + body("start()"), "start()"),
    "PY182": (body("x = pid(1)"), "pid(1)"),
    "PY183": ("@prog.struct\nclass S:\n    a: u32\n    b: u32\n" + body("s = S(1)"), "S(1)"),
    "PY184": ("m = prog.hash(u32, u32)\n" + body("x = len(m)"), "m"),
    "PY185": ("f = lambda x: x\n" + body("y = f(1)"), "f(1)"),
    "PY185 generator": ("def f(x):\n    yield x\n" + body("y = f(1)"), "f(1)"),
    "PY185 stars": ("def f(*x):\n    return 1\n" + body("y = f(1)"), "f(1)"),
    "PY186": ("def f(x):\n    return f(x)\n" + body("y = f(pid())"), "f(x)"),
    "PY187": ("@prog.func(inline=False)\ndef f(x) -> u32:\n    return 1\n" + body("y = f(pid())"), "pid()"),
    "PY188": (body("if ctx.rx_queue_index:\n    return XDP_PASS", XDP, ""), None),
    "PY188 tracing": (body("return 1", '@prog.raw_tracepoint("sched_switch")\ndef main() -> None:\n', ""), "1"),
    "PY188 range": (body("return 7", '@prog.cgroup("connect4")\ndef main(ctx: SockAddrContext) -> int:\n', ""), "7"),
    "PY189": ("from osmia.helpers import bpf_loop\ndef f():\n    return 0\n" + body("bpf_loop(1, f, None, 0)"), "f"),
    "PY190": (body("x = comm().endswith('d')"), "comm().endswith"),
    "PY191": ("t = prog.prog_array(4)\n" + body("t.tail_call(1, 2)\nreturn 2", XDP, ""), "1"),
    "PY192": ("t = prog.prog_array(4)\n@prog.func(inline=False)\ndef f(c: XdpContext) -> None:\n    t[0](c)\n" + body("f(ctx)\nreturn 2", XDP, ""),
              "t[0](c)"),
    "PY193": (body("x = attach_cookie()\nreturn 2", XDP, ""), "attach_cookie()"),
    "PY195": ("from osmia.helpers import bpf_get_prandom_u23\n" + body("x = bpf_get_prandom_u23()"), "bpf_get_prandom_u23"),
    "PY195 form": ("from osmia.helpers import bpf_tail_call\n" + body("bpf_tail_call(1, 2, 3)"), "bpf_tail_call"),
    "PY196": ("from osmia.helpers import bpf_timer_init\n" + body("bpf_timer_init(1, 2, 3)"), "1"),
    "PY197": (body("x = user_read(5, 8)"), "8"),
    "PY198": ("@prog.kfunc\ndef bpf_no_such(x: u32) -> u32: ...\n" + body("bpf_no_such(1)"), "bpf_no_such(1)"),
    "PY199": (body("x = user_str(current().comm)"), "current().comm"),
    "PY200": (body("printk(f'{pid():>5}')"), "pid()"),
    "PY201": ("@prog.xdp\ndef main(ctx: XdpContext, *rest) -> int:\n    return 2\n", "rest"),
    "PY202": ("@prog.begin\ndef main(x: u32) -> None:\n    pass\n", "x: u32"),
    "PY202 context": ('@prog.tc("ingress")\ndef main(ctx: XdpContext) -> int:\n    return 0\n', "XdpContext"),
    "PY202 order": ('from osmia.ktypes import task_struct, sock\n@prog.btf_tracepoint("sched_wakeup")\ndef main(t: sock) -> None:\n    pass\n', "sock"),
    "PY203": (body("seq_print('x')"), "seq_print('x')"),
    "PY204": ('@prog.btf_tracepoint("sched_swich")\ndef main() -> None:\n    pass\n', 'prog.btf_tracepoint("sched_swich")'),
    "PY204 syscall": ('@prog.tracepoint("syscalls:sys_enter_opnat")\ndef main() -> None:\n    pass\n', 'prog.tracepoint("syscalls:sys_enter_opnat")'),
    "PY205": ("", None),
    "PY206": ("@prog.begin\ndef main() -> None:\n    pass\n@prog.end\ndef main() -> None:\n    pass\n", None),
    "PY207": ("def f(x: float):\n    return 1\n" + body("y = f(1)"), "1"),
    "PY210": (body("x = pid()\nx = ktime_ns()"), "ktime_ns()"),
    "PY211": (body("x = current().cpus_mask"), "current().cpus_mask"),
    "PY212": ("@prog.struct\nclass S:\n    a: u32\n" + body("s = S(1)\nt = s"), "s"),
    "PY220": ("m = prog.hash(u32, u32)\n" + body("x = m.get(1) + 1"), "m.get(1)"),
    "PY230": ("s = prog.stack_trace()\n@prog.func(inline=False)\ndef f() -> s64:\n    return kstack(s)\n"
              + body("x = f()", '@prog.raw_tracepoint("sched_switch")\ndef main() -> None:\n', ""), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, name, btf):
    text, marked = CASES[name]
    code, found, error = refused(text, btf)
    assert code == name.split()[0], error
    if marked is not None:
        assert found == marked
    shown = render(error)
    assert error.message in shown
    assert "Traceback" not in shown


def test_proprietary_programs_do_without_gpl_helpers(refused, btf):
    header = 'from osmia import *\nfrom osmia import Program\nprog = Program("p", license="Proprietary")\n'
    code, text, _ = refused(body("printk('x')"), btf, header)
    assert (code, text) == ("PY194", "printk('x')")


def test_global_variables_of_python_are_not_assigned(sample):
    made = sample("g = 1\n" + body("global g\ng = 2"))
    assert [error.code for error in made.errors()] == ["PY170", "PY163"]


def test_kernel_types_without_btf(refused):
    assert refused(body("x = current().tgid"))[0] == "PY137"


def test_unreadable_kernel_field(refused, btf):
    text = "from osmia.ktypes import super_block\n" + body("x = cast(5, super_block).s_op.alloc_inode.x")
    assert refused(text, btf)[0] in ("PY131", "PY132")


def test_entry_that_is_no_program(sample):
    made = sample("t = prog.prog_array(4, {0: 5})\n" + body("pass"))
    assert [error.code for error in made.errors()] == ["PY141"]


def test_source_that_changed(sample):
    made = sample(body("pass"))
    made.module.__dict__["prog"].functions[0].function.__code__ = compile(
        "\n" * 50 + "def main():\n    pass\n", str(made.path), "exec"
    ).co_consts[0]  # fmt: skip
    assert made.errors()[0].code == "PY102"


def test_source_that_is_gone(sample):
    made = sample(body("pass"))
    made.path.unlink()
    assert made.errors()[0].code == "PY100"


def test_source_that_is_no_python_any_more(sample):
    made = sample(body("pass"))
    made.path.write_text("def main(:\n")
    (error,) = made.errors()
    assert (error.code, error.span.line) == ("PY101", 1)


def test_hints_name_what_exists(refused, btf):
    assert "tgid" in refused(body("x = current().tgdi"), btf)[2].hint
    assert (
        "task_struct" in refused("from osmia.ktypes import task_strct\n" + body("t = cast(5, task_strct)"), btf)[2].hint
    )
    assert "'pid'" in refused(body("x = pidd()"), btf)[2].hint
    text = (
        '@prog.tracepoint("syscalls:sys_enter_openat")\ndef main(args: TracepointArgs) -> None:\n    x = args.filenam\n'
    )
    assert "filename" in refused(text, btf)[2].hint
    text = '@prog.tracepoint("sched:sched_switch")\ndef main(args: TracepointArgs) -> None:\n    x = args.prev_pud\n'
    assert "prev_pid" in refused(text, btf)[2].hint
    text = '@prog.btf_tracepoint("sched_swich")\ndef main() -> None:\n    pass\n'
    assert "sched_switch" in refused(text, btf)[2].hint


def test_the_way_to_an_error_is_told(refused):
    _, text, error = refused(
        "def inner(x):\n    return x / 2\n\ndef outer(x):\n    return inner(x + 1)\n" + body("y = outer(pid())")
    )
    assert text == "x / 2"
    assert [note for note, _ in error.notes] == ["called here", "called here"]
    assert [span.line for _, span in error.notes] == [error.span.line + 3, error.span.line + 6]


def test_columns_count_characters(refused):
    code, text, _ = refused(body("x = 'äöü' + pid()"))
    assert code in ("PY106", "PY108")
    code, text, _ = refused(body("ä = 'äöü'; ö = pid() / 2"))
    assert (code, text) == ("PY109", "pid() / 2")


def test_many_errors_stop_at_a_limit(sample):
    made = sample(body("\n".join(f"x{i} = pid() / {i + 1}" for i in range(50))))
    assert 10 < len(made.errors()) <= 20


def test_every_code_of_the_front_end_has_a_case():
    root = Path(osmia.__file__).parent
    used = set()
    for path in [*(root / "frontends").rglob("*.py"), *(root / "lang").rglob("*.py")]:
        used |= set(re.findall(r'"(PY\d{3})"', path.read_text()))
    here = Path(__file__).parent
    tested = set()
    for path in [*here.glob("*.py"), *(here.parent / "lang").glob("*.py")]:
        tested |= set(re.findall(r'"(PY\d{3})[ \w]*"', path.read_text()))
    assert used <= tested, used - tested


def test_errors_are_of_the_right_classes(sample):
    with pytest.raises(CompileError):
        sample(body("x = 1 / 0")).ir()
    with pytest.raises(UsageError):
        sample("m = prog.ring(int)\n")


def test_unused_kernel_btf_is_not_needed(sample):
    assert kernel_btf is not None
    assert sample(body("x = 1")).ir().functions
