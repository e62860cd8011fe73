"""Random functions: what the compiler makes of them against Python's own evaluation under the documented rules."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import arithmetic as A

INTERESTING = [0, 1, 2, 3, 5, 7, 8, 100, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63,
               2**64 - 1, -1, -2, -3, -128, -32768, -(2**31), -(2**63)]  # fmt: skip


def program(body, parameters):
    lines = [f"in_{name} = prog.var({kind})" for name, kind in parameters]
    lines += ["out = prog.var(u64)", f"def work({', '.join(f'{n}: {k}' for n, k in parameters)}) -> u64:", body]
    lines += ["@prog.syscall", "def main() -> int:"]
    lines += [f"    out.value = work({', '.join(f'in_{name}.value' for name, _ in parameters)})", "    return 0"]
    return "\n".join(lines) + "\n"


def case(generator, below):
    parameters = [(name, generator.pick(A.NAMES)) for name in ("a", "b", "c")[: 1 + below(3)]]
    return generator.function(parameters), parameters


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**60), st.data())
def test_compiled_functions_agree_with_python(sample, seed, data):
    source = random.Random(seed)
    body, parameters = case(A.Generator(source.randrange), source.randrange)
    try:
        evaluator = sample(program(body, parameters)).evaluator()
    except Exception as error:
        # Constant shifts beyond a narrow operand are refused; nothing else may be.
        assert getattr(error, "code", "") == "PY110", body
        return
    for _ in range(4):
        values = [
            A.wrap(data.draw(st.one_of(st.sampled_from(INTERESTING), st.integers())), kind) for _, kind in parameters
        ]
        for (name, _), value in zip(parameters, values, strict=True):
            evaluator.globals[f"in_{name}"] = value
        evaluator.run("main")
        assert evaluator.globals["out"] == A.by_python(body, parameters, values), (body, parameters, values)


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_agrees_with_python(sample, seed):
    source = random.Random(seed)
    while True:
        body, parameters = case(A.Generator(source.randrange), source.randrange)
        made = sample(program(body, parameters))
        if not made.errors():
            break
    with made.program.open(attach=False, cache=False) as session:
        for _ in range(10):
            values = [A.wrap(source.choice(INTERESTING), kind) for _, kind in parameters]
            for (name, _), value in zip(parameters, values, strict=True):
                getattr(made, f"in_{name}").value = value
            session.test_run("main")
            assert made.out.value == A.by_python(body, parameters, values), (body, parameters, values)


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_agrees_with_the_evaluator_on_whole_programs(sample, seed):
    import programs as P

    source = random.Random(seed)
    made = sample(P.Programs(source.randrange).text())
    evaluator = made.evaluator()
    with made.program.open(attach=False, cache=False, include_self=True) as session:
        for x, y in [(source.randrange(1 << 32), source.randrange(1 << 63) - (1 << 62)) for _ in range(3)] + [
            (0, 0),
            (5, -3),
        ]:
            for name, value in (("x_in", x), ("y_in", y), ("out", 0)):
                evaluator.globals[name] = value
                getattr(made, name).value = value
            evaluator.run("main")
            session.test_run("main", cpu=0)
            assert made.out.value == evaluator.globals["out"], (x, y)
            live = {name: getattr(made, name) for name in ("m", "s", "t", "arr")}
            assert P.contents(live) == P.contents(evaluator.maps), (x, y)
