"""Large locals in scratch memory: one activation never sees another one's."""

import pytest
from kernel_programs import CTX, Build, loaded, run

from osmia.compiler import legality
from osmia.compiler.codegen import V3, V3_OLD, compile_module
from osmia.compiler.codegen.compile import prepare
from osmia.compiler.codegen.stack import measure
from osmia.compiler.evaluate import Evaluator
from osmia.compiler.ir import FUNC_REF, Ptr, Space, Value
from osmia.compiler.passes import place_scratch
from osmia.compiler.passes.scratch import COUNTER, MAP_NAME, SLOTS, SLOTS_PREEMPTIBLE, SLOTS_SHARED
from osmia.diagnostics import CompileError
from osmia.object.layout import BOOL, S32, S64, U8, U32, U64, Array
from osmia.object.spec import MapSpec

BIG = Array(U64, 100)
STACK = Ptr(Space.STACK, BIG)


def word(*numbers):
    return b"".join(number.to_bytes(8, "little") for number in (*numbers, *[0] * (8 - len(numbers))))


def big_program(section="raw_tp/sys_enter", result=U32, layout=BIG, between=None):
    """Stores a word in a large local, does something, and returns what the local then holds."""
    build = Build(section, result)
    array = build.local("array", layout)
    place = build.emit("element", array, build.const(70), type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.arg(0))
    if between is not None:
        between(build, array)
    build.ret(build.emit("trunc", build.emit("load", place, type=U64), type=result))
    return build.module


def interrupt(build, array):
    build.emit("helper", type=U32, name="get_prandom_u32")


def test_small_locals_stay_on_the_stack():
    module = big_program()
    build = Build()
    array = build.local("array", Array(U64, 20))
    build.emit("store", build.emit("element", array, build.const(7), type=Ptr(Space.STACK, U64)), build.arg(0))
    build.ret(0)
    assert place_scratch(build.module, V3, 320) is build.module
    assert place_scratch(module, V3, 320) is not module


def test_locals_that_nothing_uses_need_no_memory():
    build = Build()
    build.b.local("unused", BIG)
    build.ret(0)
    assert place_scratch(build.module, V3, 0) is build.module


def test_locals_that_are_never_alive_together_share_the_stack():
    build = Build()
    for number in range(8):
        array = build.local(f"array{number}", Array(U64, 25))
        build.emit("zero", array, size=200)
        build.emit("helper", array, build.const(200), type=S64, name="get_current_comm")
        build.out(
            f"out{number}", build.emit("load", build.emit("cast.ptr", array, type=Ptr(Space.STACK, U32)), type=U32)
        )
    build.ret(0)
    assert place_scratch(build.module, V3, 320) is build.module
    assert measure(compile_module(build.module))["entry"].frame <= 208


def test_result_is_legal_and_gives_the_same():
    module = big_program()
    for target in (V3, V3_OLD):
        placed = prepare(module, target, 0)
        assert legality.problems(placed, target) == []
        assert placed.maps[MAP_NAME].role == "scratch" and placed.maps[MAP_NAME].kind == "percpu_array"
        assert placed.maps[MAP_NAME].value_size == 8 + BIG.size
        assert Evaluator(placed).run("entry", word(1234)).value == 1234
    assert MAP_NAME not in module.maps, "the module that was given is as it was"


def test_locals_start_as_zeros_every_time():
    build = Build()
    array = build.local("array", BIG)
    place = build.emit("element", array, build.const(70), type=Ptr(Space.STACK, U64))
    value = build.emit("load", place, type=U64)
    build.emit("store", place, build.emit("add", value, build.const(5, U64), type=U64))
    build.ret(build.emit("trunc", build.emit("load", place, type=U64), type=U32))
    evaluator = Evaluator(prepare(build.module))
    assert [evaluator.run("entry").value for _ in range(3)] == [5, 5, 5]


def test_interrupting_runs_get_slots_of_their_own():
    """A run that comes in between at every possible depth finds other memory; one too many is counted and leaves."""
    placed = prepare(big_program(between=interrupt))
    depth, results = 0, []

    def random(run):
        nonlocal depth
        if depth < SLOTS:
            depth += 1
            results.append(evaluator.run("entry", word(100 + depth)).value)
        return 4

    evaluator = Evaluator(placed, helpers={"get_prandom_u32": random})
    assert evaluator.run("entry", word(99)).value == 99
    assert results == [0, 103, 102, 101], "the innermost one found no slot"
    assert evaluator.globals[COUNTER] == 1
    depth = SLOTS
    assert evaluator.run("entry", word(7)).value == 7, "every slot was given back"


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ("xdp", 2),
        ("tc", 0xFFFFFFFF),
        ("cgroup_skb/egress", 1),
        ("sk_lookup", 1),
        ("tracepoint/a/b", 0),
        ("socket", 0xFFFFFFFF),
    ],
)
def test_default_results_let_things_pass(section, wanted):
    placed = prepare(big_program(section, between=interrupt))
    evaluator = Evaluator(placed)
    slots = placed.maps[MAP_NAME].max_entries
    evaluator.env.cpu = 0
    for slot in range(slots):
        evaluator.maps[MAP_NAME][slot] = (1, bytes(BIG.size))
    assert evaluator.run("entry", word(9)).value == wanted
    assert evaluator.globals[COUNTER] == 1


def test_default_results_can_be_given():
    module = big_program("xdp")
    module.extras["defaults"] = {"entry": 1}
    evaluator = Evaluator(prepare(module))
    for slot in range(SLOTS):
        evaluator.maps[MAP_NAME][slot] = (1, bytes(BIG.size))
    assert evaluator.run("entry").value == 1


def test_programs_that_may_be_preempted_have_more_slots():
    for section in ("uprobe/lib:f", "usdt", "iter/task", "syscall"):
        assert prepare(big_program(section)).maps[MAP_NAME].max_entries == SLOTS_PREEMPTIBLE
    module = big_program()
    module.functions["entry"].sleepable = True
    assert prepare(module).maps[MAP_NAME].max_entries == SLOTS_PREEMPTIBLE


def test_every_way_out_releases():
    build = Build()
    array = build.local("array", BIG)
    place = build.emit("element", array, build.const(1), type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.arg(0))
    blocks = build.branch("a", "b", "c", "d")
    cases = tuple((number, block.label) for number, block in enumerate(blocks[:3]))
    build.emit("switch", build.arg(1), cases=cases, default=blocks[3].label)
    for number, block in enumerate(blocks):
        build.b.start(block)
        build.ret(number)
    placed = prepare(build.module)
    evaluator = Evaluator(placed)
    for _ in range(3):
        for number in range(4):
            assert evaluator.run("entry", word(1, number)).value == number
    assert all(value[0] == 0 for value in dict(evaluator.maps[MAP_NAME].items()).values() for value in [value[0]])
    assert evaluator.globals[COUNTER] == 0


def test_functions_get_the_slot_of_their_program():
    """Inline and static functions with large locals of their own, called from one another, keep them apart."""
    build = Build()
    outer = build.local("outer", BIG)
    place = build.emit("element", outer, build.const(3), type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.arg(0))
    first = build.emit("call", outer, build.arg(1), type=U64, function="middle")
    kept = build.emit("load", place, type=U64)
    build.ret(build.emit("trunc", build.emit("add", first, kept, type=U64), type=U32))
    for name, kind, callee in (("middle", "static", "inner"), ("inner", "inline", "")):
        params = [Value("given", STACK), Value("n", U64)]
        build.function(name, params, U64, kind)
        own = build.local("own", BIG)
        mine = build.emit("element", own, build.const(3), type=Ptr(Space.STACK, U64))
        build.emit("store", mine, params[1])
        theirs = build.emit(
            "load", build.emit("element", params[0], build.const(3), type=Ptr(Space.STACK, U64)), type=U64
        )
        total = build.emit("add", theirs, build.emit("load", mine, type=U64), type=U64)
        if callee:
            more = build.emit("add", params[1], build.const(1, U64), type=U64)
            inner = build.emit("call", own, more, type=U64, function=callee)
            total = build.emit("add", total, inner, type=U64)
            total = build.emit("add", total, build.emit("load", mine, type=U64), type=U64)
        build.ret(total)
    placed = prepare(build.module)
    assert placed.maps[MAP_NAME].value_size == 8 + 3 * BIG.size
    wanted = (1000 + 10) + (10 + 11) + 10 + 1000
    assert Evaluator(placed).run("entry", word(1000, 10)).value == wanted
    assert Evaluator(build.module).run("entry", word(1000, 10)).value == wanted


def test_static_function_with_five_parameters_is_inlined():
    build = Build()
    arguments = [build.arg(number) for number in range(5)]
    build.ret(build.emit("trunc", build.emit("call", *arguments, type=U64, function="f"), type=U32))
    params = [Value(f"p{number}", U64) for number in range(5)]
    build.function("f", params, U64, "static")
    array = build.local("array", BIG)
    place = build.emit("element", array, build.const(3), type=Ptr(Space.STACK, U64))
    build.emit("store", place, params[4])
    build.ret(build.emit("load", place, type=U64))
    placed = prepare(build.module)
    assert placed.functions["f"].kind == "inline" and len(placed.functions["f"].params) == 6
    assert Evaluator(placed).run("entry", word(1, 2, 3, 4, 5)).value == 5
    compile_module(build.module)


def test_more_than_per_cpu_values_hold():
    module = big_program(layout=Array(U64, 5000))
    placed = prepare(module)
    spec = placed.maps[MAP_NAME]
    assert (spec.kind, spec.max_entries, spec.value_size) == ("array", SLOTS_SHARED, 8 + 40_000)
    for cpu in (0, 1):
        evaluator = Evaluator(placed, cpus=2)
        assert evaluator.run("entry", word(31), cpu=cpu).value == 31


def test_too_large_for_anything():
    with pytest.raises(CompileError) as caught:
        prepare(big_program(layout=Array(U64, 200_000)))
    assert caught.value.code == "IR024" and "$array" in caught.value.notes[0][0]


def tail(used_after):
    build = Build()
    build.module.maps["jump"] = MapSpec("jump", "prog_array", key=U32, value=U32, max_entries=2)
    array = build.local("array", BIG)
    place = build.emit("element", array, build.const(3), type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.arg(0))
    build.out("kept", build.emit("load", place, type=U64))
    go, other = build.branch("go", "other")
    build.emit(
        "condbr", build.emit("ne", build.arg(1), build.const(0, U64), type=BOOL), then=go.label, other=other.label
    )
    build.b.start(go)
    build.emit("tail_call", build.const(1), map="jump")
    if used_after:
        build.out("after", build.emit("load", place, type=U64))
    build.ret(1)
    build.b.start(other)
    build.out("after", build.emit("load", place, type=U64))
    build.ret(2)
    return build.module


def test_tail_call_that_would_lose_locals():
    with pytest.raises(CompileError) as caught:
        prepare(tail(True))
    assert caught.value.code == "IR017" and caught.value.hint


@pytest.mark.kernel
def test_tail_call_gives_the_slot_back():
    module = tail(False)
    module.maps["jump"].contents = [((1).to_bytes(4, "little"), "target")]
    build = Build()
    build.module = module
    build.function("target", [Value("ctx", CTX)], U32, "program", "raw_tp/sys_enter").ret(33)
    with loaded(module) as collection:
        for round_ in range(20):
            assert run(collection, "entry", 5, 0).retval == 2
            assert run(collection, "entry", 5 + round_, 1).retval == 33
        assert collection.get_global(COUNTER) == 0
        assert all(slot[0] == 0 for number in range(SLOTS) for slot in collection.maps[MAP_NAME].per_cpu(number))


@pytest.mark.kernel
def test_taken_slots_are_left_alone():
    with loaded(big_program()) as collection:
        scratch = collection.maps[MAP_NAME]
        busy = (1, b"\xab" * BIG.size)
        scratch.fill(0, busy)
        scratch.fill(1, busy)
        assert run(collection, "entry", 4242).retval == 4242
        assert set(scratch.per_cpu(0)) == {busy}
        used = [slot for slot in scratch.per_cpu(2) if any(slot[1])]
        assert len(used) == 1 and used[0][0] == 0, "released, with what was in it"
        for number in range(SLOTS):
            scratch.fill(number, busy)
        assert run(collection, "entry", 4242).retval == 0
        assert collection.get_global(COUNTER) == 1
        scratch.fill(3, (0, bytes(BIG.size)))
        assert run(collection, "entry", 4242).retval == 4242


@pytest.mark.kernel
@pytest.mark.parametrize("target", [V3, V3_OLD], ids=["exchange", "plain"])
def test_both_ways_to_claim_work(target):
    with loaded(big_program(), target) as collection:
        assert [run(collection, "entry", n).retval for n in (1, 2, 3)] == [1, 2, 3]
        assert all(slot[0] == 0 for number in range(SLOTS) for slot in collection.maps[MAP_NAME].per_cpu(number))


@pytest.mark.kernel
def test_two_activations_at_once_in_the_kernel():
    """A callback with large locals runs while its program holds a slot: both keep theirs."""

    def loop(build, array):
        callback = build.emit("func.addr", type=FUNC_REF, function="each")
        total = build.local("total", U64)
        build.emit("store", total, build.const(0, U64))
        arguments = (build.const(7), callback, total, build.const(0, U64))
        build.emit("helper", *arguments, type=S64, name="loop")
        build.out("total", build.emit("load", total, type=U64))

    module = big_program(between=loop)
    build = Build()
    build.module = module
    params = [Value("index", U32), Value("total", Ptr(Space.STACK, U64))]
    build.function("each", params, S64, "callback")
    array = build.local("array", BIG)
    place = build.emit("element", array, build.const(70), type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.emit("zext", params[0], type=U64))
    value = build.emit("add", build.emit("load", place, type=U64), build.emit("load", params[1], type=U64), type=U64)
    build.emit("store", params[1], value)
    build.ret(0)
    with loaded(module) as collection:
        assert collection.spec.maps[MAP_NAME].max_entries == 2 * SLOTS
        for number in range(20):
            assert run(collection, "entry", number).retval == number
            assert collection.get_global("total") == 21
        assert collection.get_global(COUNTER) == 0
        slots = [slot for n in range(2) for slot in collection.maps[MAP_NAME].per_cpu(n) if any(slot[1])]
        assert len(slots) >= 2, "two slots were in use"


@pytest.mark.kernel
def test_shared_slots_in_the_kernel():
    with loaded(big_program(layout=Array(U64, 5000))) as collection:
        assert [run(collection, "entry", n).retval for n in (1, 2, 3)] == [1, 2, 3]
        assert collection.get_global(COUNTER) == 0


@pytest.mark.kernel
def test_narrow_results_and_void():
    build = Build(result=S32)
    array = build.local("array", Array(U8, 600))
    index = build.emit("element", array, build.const(599), type=Ptr(Space.STACK, U8))
    build.emit("store", index, build.const(255, U8))
    build.ret(build.emit("zext", build.emit("load", index, type=U8), type=S32))
    with loaded(build.module) as collection:
        assert run(collection).retval == 255
