"""Bad text gives a coded error at the right place, and never another exception."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_modules import modules

from osmia.compiler.text import parse_module, print_module
from osmia.diagnostics import CompileError
from osmia.diagnostics.render import render

HEAD = 'module "m" license "GPL"\n'
SAMPLE = (
    HEAD
    + """source !0 "prog.py"
enum Color named "color": u32 {
  RED = 0
  "light blue" = 5
}
struct Event size 24 align 8 {
  0 pid: u32
  4 flag: u32 bits 3 5
  8 comm: char[16]
}
map @outer: array_of_maps {key=u32, value_size=4, max_entries=2, inner=map @inner: array {key=u32, value=u64}}
map @jumps: prog_array {key=u32, value=u32, contents=[(x"00000000", "other")]}
global @total: u64 in ".bss" !0:1:2
global @limit: u32[2] in ".rodata" = x"0100000002000000"
event @ring: "Event" struct Event {"pid": "hex"}
extras {
  "prints": [1, 2.5, (x"00",), {"a": null}]
}
function program @main(%ctx: ptr<ctx, struct Event>) -> s32 !0:3:0..9:1 {
  section "xdp"
  hook "xdp" "eth0" {"mode": "skb"}
  sleepable
  local $x: u32
^entry:
  %0: bool = core.field_exists; base=kstruct task_struct, steps=(("cpu", u32), (3, karray<u8, 4>)) !0:4:2
  condbr %0; then=^a, other=^b
^a:
  %1: ptr<stack, u32> = local.addr; local=$x
  %2: ptr<map, bytes, 8>? = map.lookup %1; map=@outer
  switch %3; cases=((1, ^a), (-2, ^b)), default=^b
^b:
  %3: s32 = const; value=-1
  ret %3
}
"""
)

CASES = {
    "stray": (HEAD + "&", "IR300", "&"),
    "open quote": ('module "m', "IR300", '"'),
    "escape": (HEAD + r'source !0 "\q"', "IR300", r'"\q"'),
    "unicode escape": (HEAD + r'source !0 "\u{ffffff}"', "IR300", None),
    "empty": ("", "IR301", None),
    "no licence": ('module "m"', "IR301", None),
    "item": (HEAD + "functoin inline @f() {}", "IR301", "functoin"),
    "attribute separator": (SAMPLE.replace("const; value", "const value"), "IR301", "value"),
    "second op on a line": (SAMPLE.replace("  ret %3", "  ret %3 ret %3"), "IR301", "ret"),
    "missing value": (HEAD + 'extras { "a": }', "IR301", "}"),
    "negative size": (SAMPLE.replace("char[16]", "char[-1]"), "IR302", "-1"),
    "huge size": (SAMPLE.replace("char[16]", "char[99999999999]"), "IR302", "99999999999"),
    "huge array": (SAMPLE.replace("u32[2] in", "u32[9999][9999][9999] in"), "IR302", None),
    "large global": (SAMPLE.replace("u64 in", "u64[99999999] in"), "IR302", None),
    "long number": (HEAD + 'extras { "a": ' + "1" * 5000 + " }", "IR302", None),
    "infinite": (HEAD + 'extras { "a": 1e999 }', "IR302", "1e999"),
    "fraction": (SAMPLE.replace("RED = 0", "RED = 0.5"), "IR302", "0.5"),
    "odd hex": (HEAD + 'extras { "a": x"123" }', "IR302", 'x"123"'),
    "deep value": (HEAD + 'extras { "a": ' + "(" * 5000, "IR303", "("),
    "deep type": (HEAD + "function inline @f(%a: " + "ptr<map, " * 5000, "IR303", None),
    "operand": (SAMPLE.replace("ret %3", "ret %33"), "IR304", "%33"),
    "struct": (SAMPLE.replace("ptr<ctx, struct Event>", "ptr<ctx, struct Evemt>"), "IR304", "Evemt"),
    "later struct": (HEAD + "struct A size 8 align 8 {\n 0 b: struct B\n}", "IR304", "B"),
    "source": (SAMPLE.replace("!0:4:2", "!1:4:2"), "IR304", "!1:4:2"),
    "type": (SAMPLE.replace("ptr<stack, u32> =", "ptr<stack, u33> ="), "IR305", "u33"),
    "space": (SAMPLE.replace("ptr<stack, u32> =", "ptr<stak, u32> ="), "IR305", "stak"),
    "aggregate value": (SAMPLE.replace("%0: bool", "%0: u32[4]"), "IR305", "u32"),
    "void field": (SAMPLE.replace("0 pid: u32", "0 pid: void"), "IR305", "void"),
    "map in memory": (SAMPLE.replace("u64 in", "map in"), "IR305", "map"),
    "pointer to void": (SAMPLE.replace("ptr<stack, u32> =", "ptr<stack, void> ="), "IR305", "void"),
    "enum base": (SAMPLE.replace('"color": u32', '"color": bool'), "IR305", "bool"),
    "event layout": (SAMPLE.replace('"Event" struct Event', '"Event" u32'), "IR305", "u32"),
    "bare bytes": (SAMPLE.replace("local $x: u32", "local $x: bytes"), "IR305", "bytes"),
    "value twice": (SAMPLE.replace("%1: ptr", "%0: ptr"), "IR306", "%0"),
    "label twice": (SAMPLE.replace("^b:", "^a:"), "IR306", "^a"),
    "function twice": (SAMPLE + "function inline @main() {}", "IR306", "@main"),
    "map twice": (SAMPLE.replace("@jumps", "@outer"), "IR306", "@outer"),
    "global twice": (SAMPLE.replace("@limit", "@total"), "IR306", "@total"),
    "event twice": (SAMPLE + 'event @ring: "E" struct Event', "IR306", "@ring"),
    "local twice": (SAMPLE.replace("local $x: u32", "local $x: u32\n local $x: u8"), "IR306", "$x"),
    "struct twice": (SAMPLE + "struct Event size 0 align 1 {}", "IR306", "Event"),
    "attribute twice": (SAMPLE.replace("value=-1", "value=-1, value=2"), "IR306", "value"),
    "key twice": (HEAD + 'extras { "a": 1 "a": 2 }', "IR306", '"a"'),
    "dict key twice": (HEAD + 'extras { "a": {1: 2, 1: 3} }', "IR306", "1"),
    "unhashable key": (HEAD + 'extras { "a": {[1]: 2} }', "IR306", "["),
    "map item": (SAMPLE.replace("max_entries=2", "max_entry=2"), "IR306", "max_entry"),
    "source twice": (SAMPLE.replace("enum Color", 'source !0 "b.py"\nenum Color'), "IR306", "!0"),
    "map key": (SAMPLE.replace("{key=u32, value=u32", '{key="u32", value=u32'), "IR307", '"u32"'),
    "map entries": (SAMPLE.replace("max_entries=2", "max_entries=true"), "IR307", "true"),
    "map contents": (SAMPLE.replace('(x"00000000", "other")', '("0", "other")'), "IR307", "["),
    "columns": (SAMPLE.replace('{"pid": "hex"}', '{"pid": 16}'), "IR307", "{"),
    "options": (SAMPLE.replace('{"mode": "skb"}', '{1: "skb"}'), "IR307", "{"),
    "operation": (SAMPLE.replace("map.lookup", "map.lokup"), "IR308", "map.lokup"),
    "too few operands": (SAMPLE.replace("map.lookup %1", "map.lookup"), "IR308", "map.lookup"),
    "too many operands": (SAMPLE.replace("map.lookup %1", "map.lookup %1, %1"), "IR308", "map.lookup"),
    "missing attribute": (SAMPLE.replace("condbr %0; then=^a, other=^b", "condbr %0; then=^a"), "IR308", "condbr"),
    "unknown attribute": (SAMPLE.replace("value=-1", "value=-1, size=4"), "IR308", "const"),
    "wrong attribute": (SAMPLE.replace("then=^a, other=^b", "then=1, other=^b"), "IR308", "condbr"),
    "wrong steps": (SAMPLE.replace('("cpu", u32)', '("cpu", 5)'), "IR308", "core.field_exists"),
    "wrong cases": (SAMPLE.replace("(1, ^a)", "(1, 2)"), "IR308", "switch"),
    "wrong base": (SAMPLE.replace("base=kstruct task_struct", "base=u32"), "IR308", "core.field_exists"),
    "result missing": (SAMPLE.replace("%2: ptr<map, bytes, 8>? = map.lookup", "map.lookup"), "IR308", "map.lookup"),
    "result too many": (SAMPLE.replace("  ret %3", "  %9: u32 = ret %3"), "IR308", "ret"),
}  # fmt: skip


def test_the_sample_is_right():
    module = parse_module(SAMPLE)
    assert print_module(parse_module(print_module(module))) == print_module(module)
    main = module.functions["main"]
    assert main.hook.options == {"mode": "skb"} and main.sleepable and main.section == "xdp"
    assert module.maps["outer"].inner.value_size == 8
    assert module.globals["limit"].init == b"\1\0\0\0\2\0\0\0"


@pytest.mark.parametrize("name", CASES)
def test_errors_have_code_place_and_excerpt(name):
    text, code, where = CASES[name]
    with pytest.raises(CompileError) as caught:
        parse_module(text, "case.ir")
    error = caught.value
    assert error.code == code, str(error)
    assert error.span.file == "case.ir" and error.span.line >= 1
    line = text.split("\n")[error.span.line - 1]
    if where is not None:
        assert line[error.span.column :].startswith(where)
    assert "case.ir" in render(error) and "^" in render(error)


def test_hints_name_what_was_meant():
    with pytest.raises(CompileError) as caught:
        parse_module(CASES["operation"][0])
    assert "map.lookup" in caught.value.hint
    with pytest.raises(CompileError) as caught:
        parse_module(CASES["struct"][0])
    assert "Event" in caught.value.hint


def tried(text):
    try:
        return parse_module(text)
    except CompileError as error:
        assert re.fullmatch(r"IR30\d", error.code) and error.span.file
        return None


WORDS = set(re.findall(r'"[^"]*"|[\w.]+|\S', SAMPLE))
PIECES = [*sorted(WORDS), "\n", " ", 'x"', "-", "!", "#", "99999999999999999999"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_random_words_never_raise_anything_else(words):
    tried(HEAD + " ".join(words))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_random_text_never_raises_anything_else(text):
    tried(text)
    tried(HEAD + text)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_damaged_text_never_raises_anything_else(rng: random.Random):
    words = re.findall(r'"[^"]*"|[\w.]+|\s+|\S', SAMPLE)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(words))
        choice = rng.randrange(4)
        if choice == 0:
            del words[at]
        elif choice == 1:
            words.insert(at, rng.choice(PIECES))
        elif choice == 2:
            words[at] = rng.choice(PIECES)
        else:
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
    tried("".join(words))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules(), st.randoms(use_true_random=False))
def test_cut_modules_never_raise_anything_else(module, rng):
    text = print_module(module)
    tried(text[: rng.randrange(len(text))])
    at = rng.randrange(len(text))
    tried(text[:at] + rng.choice('"{}()<>,;:=%^$@!x0\n') + text[at + 1 :])
