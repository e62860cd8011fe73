"""Text and bytes: comparison, prefixes, length, characters, storing."""

import pytest

BEFORE = """
t = prog.var(Char[16])
s = prog.var(Char[8])
d = prog.var(Bytes[4])
NAMES = {0: "read", 1: "write"}
"""

CASES = [
    ("return t.value == 'bash'", "bash", True),
    ("return t.value == 'bash'", "bashful", False),
    ("return t.value == 'bash'", "bas", False),
    ("return t.value != 'bash'", "zsh", True),
    ("return t.value == ''", "", True),
    ("return 'abc' == t.value", "abc", True),
    ("return t.value == 'x' * 17", "x" * 16, False),
    ("return t.value == 'xxxxxxxxxxxxxxxx'", "x" * 16, True),
    ("return t.value in ('sh', 'bash')", "sh", True),
    ("return t.value not in {'sh', 'bash'}", "zsh", True),
    ("return t.value.startswith('ba')", "bash", True),
    ("return t.value.startswith('bx')", "bash", False),
    ("return t.value.startswith(('x', 'ba'))", "bash", True),
    ("return t.value.startswith('')", "", True),
    ("return t.value.startswith('b' * 20)", "b" * 16, False),
    ("return bool(t.value)", "", False),
    ("return bool(t.value)", "x", True),
    ("return len(t.value) == 5", "hello", True),
    ("return len(t.value) == 16", "x" * 16, True),
    ("return t.value[0] == '/'", "/etc", True),
    ("return t.value[1] == 'x'", "/etc", False),
    ("return ord(t.value[0]) == 47", "/etc", True),
    ("return t.value[40] == ''", "/etc", True),
    ("return t.value[9] == ''", "/etc", True),
    ("i: u32 = len(t.value) - 1\nreturn t.value[i] == 'c'", "/etc", True),
    ("i: u32 = 77\nreturn t.value[i] == ''", "/etc", True),
    ("x = t.value\nt.value = 'other'\nreturn x == 'first'", "first", True),
    ("x = 'abc'\nreturn x == 'abc'", "", True),
    ("x: Char[8] = 'abc'\nx = 'abcdef'\nreturn x == 'abcdef'", "", True),
    ("x: Char[16] = t.value\nreturn x == t.value", "0123456789abcdef", True),
    ("s.value = t.value\nreturn s.value == '01234567'", "0123456789abcdef", True),
    ("s.value = 'ab'\nreturn t.value == s.value", "ab", True),
    ("s.value = 'abcdefgh'\nreturn t.value == s.value", "abcdefghi", False),
    ("s.value = 'abcdefgh'\nreturn t.value == s.value", "abcdefgh", True),
    ("d.value = b'\\x7fELF'\nreturn d.value == b'\\x7fELF'", "", True),
    ("d.value = b'\\x7fELF'\nreturn d.value == b'\\x7fEL'", "", False),
    ("d.value = b'\\x7fELF'\nreturn d.value.startswith(b'\\x7fE') and d.value[1] == 69 and len(d.value) == 4", "", True),
    ("d.value = b'\\x01\\x02\\x03\\x04'\nn = 0\nfor x in d.value:\n    n = n * 10 + x\nreturn n == 1234", "", True),
    ("x = 'long enough' if t.value == 'a' else 'no'\nreturn x == 'long enough'", "a", True),
    ("x = 'long enough' if t.value == 'a' else 'no'\nreturn x == 'no'", "b", True),
    ("match t.value:\n    case 'a' | 'b':\n        return True\n    case _:\n        return False", "b", True),
    ("i: u32 = 1\nreturn NAMES[i] == 'write' and NAMES.get(i, '?') == 'write' and NAMES.get(7, '?') == '?'", "", True),
    ("i: u32 = 9\nreturn NAMES.get(i, 'none of them') == 'none of them'", "", True),
    ("return comm() == 'osmia'", "", True),
    ("return 'abc'.upper() == 'ABC' and 'abc'[1] == 'b' and len('añb') == 4", "", True),
    ("return t.value == 'añb'", "añb", True),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text", "wanted"), CASES)
def test_text(sample, body, text, wanted):
    lines = "\n".join("    " + line for line in body.split("\n"))
    made = sample(
        BEFORE + "out = prog.var(bool)\ndef work() -> bool:\n" + lines + "\n@prog.syscall\ndef main() -> int:\n"
        "    out.value = work()\n    return 7\n"
    )
    evaluator = made.evaluator()
    evaluator.globals["t"] = text
    assert evaluator.run("main").value == 7
    assert evaluator.globals["out"] is wanted


@pytest.mark.parametrize(
    ("body", "code", "marked"),
    [
        ("x = t.value + 'x'", "PY108", "t.value + 'x'"),
        ("x = 'a' in t.value", "PY116", "t.value"),
        ("x = t.value < 'b'", "PY115", "t.value"),
        ("x = t.value == b'x'", "PY115", "b'x'"),
        ("x = t.value == 5", "PY115", "5"),
        ("x = t.value.endswith('x')", "PY190", "t.value.endswith"),
        ("x = t.value.startswith(s.value)", "PY119", "s.value"),
        ("x = t.value[-1]", "PY120", "-1"),
        ("x = t.value[1:2]", "PY153", "t.value[1:2]"),
        ("t.value[0] = 'x'", "PY121", "t.value[0]"),
        ("s.value = 'far too long'", "PY105", "'far too long'"),
        ("d.value = b'x'", "PY105", "b'x'"),
        ("d.value = 'abcd'", "PY123", "'abcd'"),
        ("x = t.value == 'a\\0b'", "PY118", "'a\\0b'"),
        ("x = f'{t.value}'", "PY170", "f'{t.value}'"),
        ("x = 'ab'\nx = t.value", "PY210", "t.value"),
        ("x = ord(t.value)", "PY106", "t.value"),
        ("x = t.value * 2", "PY108", "t.value * 2"),
    ],
)
def test_refused(refused, body, code, marked):
    lines = "\n".join("    " + line for line in body.split("\n"))
    found, text, error = refused(BEFORE + "@prog.syscall\ndef main() -> int:\n" + lines + "\n    return 0\n")
    assert (found, text) == (code, marked)
    assert error.message
