"""Maps, rings, queues and the rest, by what the reference evaluator finds in them afterwards."""

import pytest


@pytest.fixture
def run(sample):
    """Compiles declarations and a body; runs it and gives the evaluator."""

    def go(before, body, prepare=None, times=1, **settings):
        lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
        made = sample(
            before + "\nout = prog.var(s64)\n@prog.syscall\ndef main() -> int:\n" + lines + "\n    return 0\n"
        )
        evaluator = made.evaluator(**settings)
        if prepare is not None:
            prepare(evaluator)
        for _ in range(times):
            evaluator.run("main")
        return evaluator

    return go


HASH = "m = prog.hash(u32, u64, max_entries=2)"
STRUCT = """
@prog.struct
class V:
    hits: u64
    small: u16
    flag: bool
    name: Char[8] = ""
    inner: Array[u32, 3] = [0] * 3
m = prog.hash(u32, V)
"""


def test_assign_get_delete(run):
    found = run(HASH, "m[1] = 5\nv = m.get(1)\nif v is not None:\n    out.value = v\nm[2] = 7\ndel m[1]\ndel m[9]")
    assert dict(found.maps["m"].items()) == {2: 7}
    assert found.globals["out"] == 5


def test_get_with_default(run):
    assert run(HASH, "m[1] = 5\nout.value = m.get(1, 77) * 100 + m.get(2, 7)").globals["out"] == 507


def test_number_is_a_copy(run):
    found = run(HASH, "m[1] = 5\nv = m.get(1)\nm[1] = 6\nif v is not None:\n    v += 1\n    out.value = v")
    assert found.globals["out"] == 6
    assert found.maps["m"][1] == 6


def test_increment_makes_the_entry(run):
    found = run(HASH, "m[1] += 2\nm[1] += 3\nm[2] -= 1")
    assert dict(found.maps["m"].items()) == {1: 5, 2: 2**64 - 1}
    assert "osmia_map_errors" in list(found.globals)


def test_lost_increment_is_counted(run):
    found = run(HASH, "m[1] += 1\nm[2] += 1\nm[3] += 1\nm[4] = 9\nm[3] |= 4")
    assert dict(found.maps["m"].items()) == {1: 1, 2: 1}
    assert list(found.globals["osmia_map_errors"]) == [3]


@pytest.mark.parametrize(("op", "wanted"), [("*= 3", 18), ("//= 4", 1), ("%= 4", 2), ("<<= 2", 24), (">>= 1", 3), ("**= 2", 36), ("&= 3", 2),
                                            ("|= 9", 15), ("^= 5", 3)])  # fmt: skip
def test_other_operations(run, op, wanted):
    assert run(HASH, f"m[1] = 6\nm[1] {op}").maps["m"][1] == wanted


def test_insert_pop_contains(run):
    found = run(
        HASH,
        """
a = m.insert(1, 5)
b = m.insert(1, 6)
c = 1 in m
d = 2 not in m
v = m.pop(1)
w = m.pop(1)
if v is not None and w is None and a and not b and c and d and v == 5:
    out.value = 1
""",
    )
    assert found.globals["out"] == 1
    assert not len(found.maps["m"])


def test_struct_values_are_references(run):
    found = run(
        STRUCT,
        """
m[1] = V(hits=1, small=2, flag=False, name="ab")
v = m.get(1)
if v is None:
    return 0
v.hits += 5
v.small += 65535
v.flag = True
v.name = "cd"
v.inner[1] = 8
v.inner[2] += 9
w = v
w.hits *= 2
out.value = v.hits
""",
    )
    value = found.maps["m"][1]
    assert found.globals["out"] == 12
    assert (value.hits, value.small, value.flag, value.name, value.inner) == (12, 1, True, "cd", [0, 8, 9])


def test_walrus_and_boolean_tests(run):
    found = run(
        STRUCT,
        """
m[1] = V(hits=3, small=0, flag=False)
if (v := m.get(1)) and v.hits == 3:
    out.value += 1
if m.get(2) is None:
    out.value += 10
x = m.get(1)
if x is not None and x.hits > 2 and not x.flag:
    out.value += 100
y = m.get(7)
if not y:
    out.value += 1000
while (z := m.pop(1)) is not None:
    out.value += 10000 * z.hits
""",
    )
    assert found.globals["out"] == 31111


def test_keys_of_every_kind(run):
    before = """
@prog.struct
class K:
    a: u8
    b: u32
by_struct = prog.hash(K, u64)
by_tuple = prog.hash((u32, Char[4]), u64)
by_text = prog.hash(Char[16], u64)
by_array = prog.hash(Array[u8, 3], u64)
"""
    found = run(
        before,
        """
k = K(a=1, b=2)
by_struct[k] += 1
by_struct[K(1, 2)] += 1
by_tuple[5, "ab"] += 1
by_tuple[(5, "ab")] += 1
t = (5, "ab")
by_tuple[t] += 1
by_text[comm()] += 1
by_text["x"] = 7
by_array[[1, 2, 3]] = 4
""",
    )
    assert [value for _, value in found.maps["by_struct"].items()] == [2]
    assert dict(found.maps["by_tuple"].items()) == {(5, "ab"): 3}
    assert dict(found.maps["by_text"].items()) == {"osmia": 1, "x": 7}
    assert [list(key) for key, _ in found.maps["by_array"].items()] == [[1, 2, 3]]


def test_array_maps(run):
    found = run(
        "a = prog.array(u32, 4)\np = prog.percpu_array(u64, 2)",
        "a[1] = 5\na[1] += 2\na[2] -= 1\np[0] += 3\nout.value = a[1] + p[0]\nv = a.get(9)\nif v is None:\n    out.value += 100",
    )
    assert found.globals["out"] == 110
    assert [found.maps["a"][index] for index in range(4)] == [0, 7, 2**32 - 1, 0]


@pytest.mark.parametrize("body", ["out.value = a[i.value]", "a[i.value] = 1", "a[i.value] += 1"])
@pytest.mark.parametrize("index", [4, -1, 2**32 + 1])
def test_index_outside_an_array_map_ends_the_program(run, body, index):
    found = run(
        "a = prog.array(u32, 4)\ni = prog.var(s64)", f"out.value = 5\n{body}\nout.value = 7",
        lambda evaluator: evaluator.globals.__setitem__("i", index),
    )  # fmt: skip
    assert found.globals["out"] == 5
    assert list(found.globals["osmia_map_errors"]) == [1]
    assert [found.maps["a"][at] for at in range(4)] == [0] * 4


def test_per_cpu_and_counter(run):
    found = run(
        "c = prog.counter(u32)\nh = prog.percpu_hash(u32, u32)", "c[1] += 1\nc.add(1)\nc.add(2, 5)\nh[1] += 9", times=2
    )
    assert {key: sum(values) for key, values in found.maps["c"].items()} == {1: 4, 2: 10}
    assert {key: sum(values) for key, values in found.maps["h"].items()} == {1: 18}


def test_loops_over_maps(run):
    found = run(
        "m = prog.hash(u32, u64)\nn = prog.hash(u64, u64)",
        """
for i in range(10):
    m[i] = i * i
best = None
total = 0
for k, v in m.items():
    if k == 7:
        continue
    total += v
    n[k] = v + 1
    if best is None or v > best:
        best = v
for k in m:
    out.value += k
for v in m.values():
    if v > 1000:
        break
else:
    out.value += 1000
if best is not None:
    out.value += best * 10000 + total * 10000000
""",
    )
    assert found.globals["out"] == 45 + 1000 + 81 * 10000 + (285 - 49) * 10000000
    assert len(found.maps["n"]) == 9


def test_return_from_a_loop_over_a_map(run, sample):
    before = """
m = prog.hash(u32, u64)

def find(limit: u64) -> u32:
    for k, v in m.items():
        if v >= limit:
            return k
    return 99
"""
    found = run(before, "m[4] = 10\nm[6] = 20\nout.value = find(15) * 1000 + find(50)")
    assert found.globals["out"] == 6099


def test_nested_map_loops_change_outer_variables(run):
    found = run(
        "m = prog.hash(u32, u64)",
        """
m[1] = 10
m[2] = 20
pairs = 0
name = "start"
buf = [0] * 4
for k, v in m.items():
    for l, w in m.items():
        pairs += v * w
        buf[l] += 1
    name = "after"
if name == "after":
    out.value = pairs + buf[1] * 10000 + buf[2] * 100000
""",
    )
    assert found.globals["out"] == 900 + 2 * 10000 + 2 * 100000


def test_histograms(run):
    found = run(
        'h = prog.histogram()\nk = prog.histogram(u32)\nl = prog.histogram(scale="linear", low=10, high=30, step=5)',
        """
for v in (0, 1, 2, 3, 4, 1000, -5):
    h.record(v)
k[7].record(8)
k[7].record(9, 10)
for v in (9, 10, 14, 15, 29, 30, 99, -1):
    l.record(v)
""",
    )
    assert [sum(found.maps["h"][bucket]) for bucket in range(12)] == [2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert {key: sum(values) for key, values in found.maps["k"].items()} == {(7, 4): 11}
    assert [sum(found.maps["l"][bucket]) for bucket in range(6)] == [2, 2, 1, 0, 1, 2]


def test_queue_stack_bloom(run):
    found = run(
        "q = prog.queue(u32, max_entries=2)\ns = prog.stack(u32)\nb = prog.bloom(u32)",
        """
a = q.push(1)
c = q.push(2)
d = q.push(3)
if a and c and not d:
    out.value = 1
while (v := q.pop()) is not None:
    out.value = out.value * 10 + v
s.push(5)
s.push(6)
p = s.peek()
v = s.pop()
if p is not None and v is not None:
    out.value = out.value * 100 + p * 10 + v
b.add(42)
if 42 in b and 43 not in b:
    out.value = -out.value
""",
    )
    assert found.globals["out"] == -(112 * 100 + 66)


RING = """
@prog.event
class E:
    a: u8
    b: u32
    name: Char[8]
    raw: Bytes[3] = b"abc"
r = prog.ring(E)
"""


def test_submit_a_constructor(sample):
    made = sample(
        RING
        + "@prog.syscall\ndef main() -> int:\n    ok = r.submit(E(a=1, b=2, name=comm()))\n    return 5 if ok else 6\n"
    )
    evaluator = made.evaluator()
    result = evaluator.run("main")
    assert result.value == 5
    assert [(e.a, e.b, e.name, e.raw) for e in result.values] == [(1, 2, "osmia", b"abc")]
    assert bytes(result.events[0].data)[1:4] == bytes(3)


def test_submit_a_variable_and_a_reserved_record(sample):
    made = sample(
        RING
        + """
n = prog.var(u32)

@prog.syscall
def main() -> int:
    e = E(a=1, b=2, name="x")
    e.b += 5
    r.submit(e)
    x = r.reserve()
    if x is None:
        return 1
    x.a = 9
    x.name = "res"
    if n.value:
        r.discard(x)
        return 2
    r.submit(x)
    r.submit(E(3, n.value + 4, "last"))
    return 3
"""
    )
    evaluator = made.evaluator()
    result = evaluator.run("main")
    assert result.value == 3
    assert [(e.a, e.b, e.name) for e in result.values] == [(1, 7, "x"), (9, 0, "res"), (3, 4, "last")]
    evaluator.globals["n"] = 1
    result = evaluator.run("main")
    assert (result.value, len(result.values)) == (2, 1)


def test_full_ring_is_counted(sample):
    made = sample(
        RING.replace("prog.ring(E)", "prog.ring(E, size=4096)")
        + "@prog.syscall\ndef main() -> int:\n    for i in range(200):\n        r.submit(E(1, i, 'x'))\n    return 0\n"
    )
    evaluator = made.evaluator()
    result = evaluator.run("main")
    lost = evaluator.globals["osmia_map_errors"][0]
    assert lost > 0
    assert len(result.values) + lost == 200
    assert made.ir().extras["map_errors"] == ["r"]


def test_maps_of_maps(sample):
    made = sample(
        """
inner = prog.hash(u32, u64)
other = prog.hash(u32, u64)
outer = prog.array_of_maps(inner, 4, {1: inner, 2: other})
out = prog.var(u64)

@prog.syscall
def main() -> int:
    m = outer.get(1)
    if m is None:
        return 1
    m[5] += 7
    m[6] = 1
    del m[6]
    v = m.get(5)
    if v is not None:
        out.value = v
    n = outer.get(0)
    if n is None:
        return 2
    return 3
"""
    )
    evaluator = made.evaluator()
    assert evaluator.run("main").value == 2
    assert dict(evaluator.maps["inner"].items()) == {5: 7}
    assert evaluator.globals["out"] == 7


@pytest.mark.parametrize(
    ("body", "code", "marked"),
    [
        ("x = m[1]", "PY145", "m[1]"),
        ("v = m.get(1)\nx = v + 1", "PY220", "v"),
        ("x = m.get(1) + 1", "PY220", "m.get(1)"),
        ("v = s.get(1)\nv.hits += 1", "PY220", "v"),
        ("v = s.get(1, None)\nx = v.hits", "PY220", "v"),
        ("v = s.get(1, V(1))", "PY144", "V(1)"),
        ("v = s.get(1)\nif v:\n    v.hit = 1", "PY122", "v.hit"),
        ("m['x'] = 1", "PY106", "'x'"),
        ("m[1] = 'x'", "PY106", "'x'"),
        ("s[1] += 1", "PY147", "s[1] += 1"),
        ("x = m.items()", "PY190", "m.items"),
        ("x = m.size", "PY152", "m.size"),
        ("for k, v in q:\n    pass", "PY178", "q"),
        ("x = q.get(1)", "PY190", "q.get"),
        ("h.record(1)", "PY148", "h.record(1)"),
        ("h[1] += 1", "PY146", "h[1] += 1"),
        ("x = len(m)", "PY184", "m"),
        ("if m:\n    pass", "PY113", "m"),
        ("del a[1]", "PY146", "a[1]"),
        ("a.pop(1)", "PY146", "a.pop(1)"),
        ("a[7] = 1", "PY120", "7"),
        ("w[1] += 1", "PY125", "w[1] += 1"),
        ("r.submit(V(1))", "PY123", "V(1)"),
        ("r.submit(E(1, 2))", "PY183", "E(1, 2)"),
        ("r.submit(E(1, 2, 'x', zz=1))", "PY183", "1"),
        ("e = r.reserve()\ne.a = 1", "PY220", "e"),
        ("e = r.reserve()\nif e:\n    r.submit(e)\n    e.a = 1", "PY166", "e"),
        ("m[1], m[2] = 5", "PY165", "5"),
        ("v = s.get(1)\nif v:\n    w = V(1)\n    w = v\n    x = w\n    y = w", "PY212", "w"),
        ("m.insert(1)", "PY182", "m.insert(1)"),
        ("m.insert(key=1, value=2)", "PY182", "1"),
    ],
)
def test_refused(refused, body, code, marked):
    lines = "\n".join("    " + line for line in body.split("\n"))
    found, text, _ = refused(
        RING + """
@prog.struct
class V:
    hits: u64
m = prog.hash(u32, u64)
s = prog.hash(u32, V)
q = prog.queue(u32)
h = prog.histogram(u32)
a = prog.array(u32, 4)
w = prog.hash(u32, u16)
@prog.syscall
def main() -> int:
""" + lines + "\n    return 0\n"
    )  # fmt: skip
    assert (found, text) == (code, marked)


def test_map_of_another_program_is_refused(refused):
    code, text, _ = refused(
        'other = Program("other")\nm = other.hash(u32, u32)\n@prog.syscall\ndef main() -> int:\n    m[1] = 1\n    return 0\n'
    )
    assert (code, text) == ("PY140", "m[1]")


def test_a_run_time_error_gives_reserved_records_back(sample):
    made = sample(
        RING
        + """
n = prog.var(u32)
other = prog.ring(E)
m = prog.hash(u32, u32)

@prog.syscall
def main() -> int:
    e = r.reserve()
    if e is None:
        return 1
    f = other.reserve()
    if f is None:
        r.discard(e)
        return 2
    buf = [1, 2, 3]
    e.b = buf[n.value]
    r.submit(e)
    for k, v in m.items():
        assert v < n.value
    f.b = 7
    other.submit(f)
    return 3
"""
    )
    evaluator = made.evaluator()
    evaluator.maps["m"][1] = 1
    evaluator.globals["n"] = 2
    result = evaluator.run("main")
    assert (result.value, [event.b for event in result.values]) == (3, [3, 7])
    evaluator.globals["n"] = 5
    result = evaluator.run("main")
    assert (result.value, result.values) == (0, [])
    evaluator.globals["n"] = 1
    result = evaluator.run("main")
    assert (result.value, [event.b for event in result.values]) == (0, [2])
