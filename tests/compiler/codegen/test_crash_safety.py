"""LLVM never ends the process: random modules of everything the IR has, compiled in a process of their own.

More with ``OSMIA_FUZZ=2000 pytest tests/compiler/codegen/test_crash_safety.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("OSMIA_FUZZ", "30"))
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from random_modules import random_module
from osmia.compiler import legality
from osmia.compiler.codegen import V3, V4, compile_module
from osmia.diagnostics import OsmiaError
first, last, statements = map(int, sys.argv[2:5])
done = refused = 0
for seed in range(first, last):
    print(seed, file=sys.stderr, flush=True)
    module = random_module(seed, True, statements)
    problems = legality.problems(module)
    assert not problems, (seed, problems[0])
    for target in (V3, V4):
        try:
            blob = compile_module(module, target)
            assert blob[:4] == b"\\x7fELF" and b"___0" not in blob
            done += 1
        except OsmiaError as error:
            assert error.code in ("IR013", "IR017"), (seed, error.code, str(error), error.details)
            refused += 1
print(done, refused)
"""


@pytest.mark.parametrize(("start", "statements"), [(0, 4), (10_000, 12), (20_000, 40)])
def test_random_modules_do_not_end_the_process(start, statements):
    count = max(1, COUNT * 4 // statements // 2)
    arguments = [
        sys.executable,
        "-c",
        SCRIPT,
        str(Path(__file__).parent),
        str(start),
        str(start + count),
        str(statements),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100 + COUNT * 4, check=False)
    last = (done.stderr.split() or ["?"])[-1]
    assert done.returncode == 0, f"around seed {last}: {done.stderr[-2000:]}"
    compiled, refused = map(int, done.stdout.split())
    assert compiled + refused == 2 * count and compiled >= count
