"""Statements: every form of assignment, branch, loop and match, by its result."""

import pytest

CASES = [
    # (body, arguments, parameters, result)
    ("x = y = a\nx += 1\nreturn x * 10 + y", (3,), "a: u32", 43),
    ("x: u8 = 250\nx += a\nreturn x", (10,), "a: u8", 4),
    ("x: u16\nx = a\nreturn x", (7,), "a: u16", 7),
    ("(x, y), z = (a, b), 5\nreturn x * 100 + y * 10 + z", (1, 2), "a: u32, b: u32", 125),
    ("[x, y] = a, b\nreturn x * 10 + y", (1, 2), "a: u32, b: u32", 12),
    ("t = (a, b, 7)\nx, y, z = t\nreturn x * 100 + y * 10 + t[2] + t[-1]", (1, 2), "a: u32, b: u32", 134),
    ("a, b = b, a\nreturn a * 10 + b", (1, 2), "a: u32, b: u32", 21),
    ("if a > 5:\n    return 1\nelif a > 3:\n    return 2\nelse:\n    return 3", (4,), "a: u32", 2),
    ("if not a:\n    return 1\nreturn 2", (0,), "a: u32", 1),
    ("pass\nreturn a", (4,), "a: u32", 4),
    ("'a docstring'\n...\nreturn a", (4,), "a: u32", 4),
    ("x = 0\nwhile True:\n    x += 1\n    if x == a:\n        break\nreturn x", (6,), "a: u32", 6),
    ("x = 0\nwhile x < 10:\n    x += 1\n    if x % 2:\n        continue\n    if x == a:\n        break\nelse:\n    x = 77\nreturn x",
     (5,), "a: u32", 77),
    ("x = 0\nwhile x < 10:\n    x += 1\n    if x == a:\n        break\nelse:\n    x = 77\nreturn x", (5,), "a: u32", 5),
    ("x = 0\nfor i in range(a, b):\n    x = x * 10 + i\nreturn x", (2, 6), "a: u32, b: u32", 2345),
    ("x = 0\nfor i in range(a, b, 3):\n    x = x * 10 + i\nreturn x", (1, 9), "a: u32, b: u32", 147),
    ("x = 0\nfor i in range(b, a, -2):\n    x = x * 10 + i\nreturn x", (1, 8), "a: u32, b: u32", 8642),
    ("x = 0\nfor i in range(5, 0, -1):\n    x = x * 10 + i\nreturn x", (), "", 54321),
    ("x = 0\nfor i in range(a):\n    x += i\nelse:\n    x += 1000\nreturn x", (4,), "a: u32", 1006),
    ("x = 5\nfor i in range(a):\n    x += i\nreturn x", (0,), "a: u32", 5),
    ("x = 0\nfor i in range(a, b):\n    x += 1\nreturn x", (-3, 4), "a: s32, b: s32", 7),
    ("x = 0\nfor i in range(min(a, 16)):\n    x += i\nreturn x", (5,), "a: u32", 10),
    ("x = 0\nfor i in range(min(a, 16)):\n    x += 1\nreturn x", (500,), "a: u32", 16),
    ("x = 0\nfor i in range(a):\n    for j in range(a):\n        x += i * j\nreturn x", (5,), "a: u32", 100),
    ("x = 0\nfor i in range(300):\n    for j in range(300):\n        if j == 3:\n            break\n        x += 1\nreturn x",
     (), "", 900),
    ("for i in range(a):\n    if i * i > 50:\n        return i\nreturn 0", (100,), "a: u32", 8),
    ("x = 0\nfor i in range(10):\n    i += 5\n    x += i\nreturn x", (), "", 95),
    ("buf = [a, b, a + b]\nx = 0\nfor v in buf:\n    x = x * 10 + v\nreturn x", (1, 2), "a: u32, b: u32", 123),
    ("buf = [a, b, 9]\nx = 0\nfor i, v in enumerate(buf):\n    x += i * v\nreturn x", (1, 2), "a: u32, b: u32", 20),
    ("x = 0\nfor v in (1, a, 3):\n    x = x * 10 + v\nreturn x", (2,), "a: u32", 123),
    ("x = 0\nfor n, w in ((1, 10), (2, 20)):\n    x += n * w\nreturn x", (), "", 50),
    ("x = 0\nfor v in [1, 2, 3]:\n    if v == 2:\n        continue\n    x += v\nelse:\n    x += 10\nreturn x", (), "", 14),
    ("assert a > 2\nreturn a", (3,), "a: u32", 3),
    ("x = 0\nif (n := a * 2) > 4:\n    x = n\nreturn x + n", (3,), "a: u32", 12),
    ("match a:\n    case 1:\n        return 10\n    case 2 | 3:\n        return 20\n    case _:\n        return 30", (3,), "a: u32", 20),
    ("match a:\n    case 1:\n        return 10\nreturn 99", (3,), "a: u32", 99),
    ("match a, b:\n    case 1, x:\n        return x\n    case (y, 2):\n        return y * 10\n    case _:\n        return 0",
     (5, 2), "a: u32, b: u32", 50),
    ("match a:\n    case x if x > 100:\n        return 1\n    case 7 as y:\n        return y + 1\n    case other:\n        return other",
     (7,), "a: u32", 8),
    ("match a > 3:\n    case True:\n        return 1\n    case False:\n        return 2", (2,), "a: u32", 2),
    ("match a:\n    case -1:\n        return 5\n    case _:\n        return 6", (-1,), "a: s32", 5),
    ("x = [0] * 4\nx[1] = a\nx[-1] = 5\nx[a] += 7\nreturn x[1] * 100 + x[3] * 10 + x[2]", (2,), "a: u32", 257),
    ("x: Array[u8, 4] = [250, 0, 0, 0]\nx[0] += a\nreturn x[0] + len(x)", (10,), "a: u8", 8),
    ("x = 0\nfor i in range(a):\n    x += i\nfor i in range(3):\n    x += i\nreturn x", (4,), "a: u32", 9),
    ("return 5 if a else 6", (0,), "a: u32", 6),
    ("x = None\nif a:\n    x = a\nif x is None:\n    return 1\nreturn x", (9,), "a: u32", 9),
    ("x = None\nif a:\n    x = a\nif x is None:\n    return 1\nreturn x", (0,), "a: u32", 1),
    ("best = None\nfor v in (3, a, 1):\n    if best is None or v > best:\n        best = v\nif best is not None:\n    return best\nreturn 0",
     (8,), "a: u32", 8),
    ("x = None\nfor i in range(a):\n    if x is None or i > x:\n        x = i\nif x is None:\n    return 1000\nreturn x",
     (300,), "a: u32", 299),
]  # fmt: skip


def split(params):
    found, depth, current = [], 0, ""
    for char in params:
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            found.append(current.strip())
            current = ""
        else:
            current += char
    return [*found, current.strip()] if current.strip() else found


@pytest.mark.parametrize(("body", "args", "params", "wanted"), CASES)
def test_statement(value, body, args, params, wanted):
    assert value(body, *args, params=split(params)) == wanted


@pytest.mark.parametrize(
    ("body", "args", "wanted"),
    [
        ("x = 0\nfor i in range(a):\n    x += i\nreturn x", (10_000,), sum(range(10_000))),
        (
            "x = 0\nfor i in range(a):\n    if i == 700:\n        break\n    x += 1\nelse:\n    x = 5\nreturn x",
            (1000,),
            700,
        ),
    ],
)
def test_long_loop_is_a_callback(value, body, args, wanted):
    assert value(body, *args, params=["a: u32"]) == wanted


def test_range_too_long_for_the_kernel_is_cut_and_counted(sample):
    made = sample(
        """
        n = prog.var(u64)
        turns = prog.var(u64)

        @prog.syscall
        def main() -> int:
            for i in range(n.value):
                turns.value += 1
                if turns.value > 3:
                    break
            return 0
        """
    )
    evaluator = made.evaluator()
    evaluator.globals["n"] = 1 << 40
    evaluator.run("main")
    assert evaluator.globals["turns"] == 4
    assert list(evaluator.globals["osmia_map_errors"]) == [1]


def test_failed_assertion_ends_the_program_and_is_counted(sample):
    made = sample(
        """
        a = prog.var(u32)
        out = prog.var(u32)

        def check(x: u32) -> u32:
            assert x < 5, "too many"
            return x

        @prog.syscall
        def main() -> int:
            out.value = check(a.value)
            return 1
        """
    )
    module = made.ir()
    assert module.extras["map_errors"] == ["too many (" + made.path.name + ":15)"]
    evaluator = made.evaluator()
    evaluator.globals["a"] = 3
    assert evaluator.run("main").value == 1
    evaluator.globals["a"] = 5
    evaluator.globals["out"] = 77
    assert evaluator.run("main").value == 0
    assert evaluator.globals["out"] == 77
    assert evaluator.globals["osmia_map_errors"] == [1]


def test_failure_inside_a_callback_ends_the_program(sample):
    made = sample(
        """
        m = prog.hash(u32, u32)
        out = prog.var(u32)

        @prog.syscall
        def main() -> int:
            for k, v in m.items():
                assert v < 10
            out.value = 1
            return 5
        """
    )
    evaluator = made.evaluator()
    evaluator.maps["m"][1] = 4
    assert evaluator.run("main").value == 5
    assert evaluator.globals["out"] == 1
    evaluator.maps["m"][2] = 40
    evaluator.globals["out"] = 0
    assert evaluator.run("main").value == 0
    assert evaluator.globals["out"] == 0


def test_constant_condition_leaves_a_branch_out(sample):
    made = sample(
        """
        DEBUG = False
        out = prog.var(u32)

        @prog.syscall
        def main() -> int:
            if DEBUG:
                out.value = 1
            else:
                out.value = 2
            return 0
        """
    )
    evaluator = made.evaluator()
    evaluator.run("main")
    assert evaluator.globals["out"] == 2


def test_code_after_return_is_still_checked(refused):
    code, text, _ = refused(
        """
        @prog.syscall
        def main() -> int:
            return 0
            yield 5
        """.replace("yield 5", "x = 1.5")
    )
    assert (code, text) == ("PY103", "1.5")


def test_several_errors_are_reported_in_source_order(sample):
    made = sample(
        """
        @prog.syscall
        def main() -> int:
            a = 1 / 2 * nothing
            b = a + 1
            with b:
                pass
            c = [i for i in range(3)]
            return 0
        """
    )
    assert [error.code for error in made.errors()] == ["PY167", "PY170", "PY170"]
