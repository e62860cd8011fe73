"""Programs in ``tests/cases/ir``: they come back from text, are legal, and give what their comments say.

Comments at the top of a file say what to run::

    # run NAME [ctx=HEX] [packet=HEX] [ARGUMENT...] -> VALUE
    # fault NAME [ctx=HEX] [packet=HEX] [ARGUMENT...] -> CODE
    # event MAP HEX            an event of the run above
    # printed TEXT             a message of the run above
    # map NAME KEY -> VALUE    an entry after the run above
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from osmia.compiler.evaluate import EvaluationFault, Evaluator
from osmia.compiler.text import parse_module, print_module

CASES = Path(__file__).resolve().parents[2] / "cases" / "ir"
FILES = [path for path in sorted(CASES.glob("*.txt")) if "\n# run " in path.read_text()]
LINE = re.compile(r"# (run|fault|event|printed|map) (.*?)(?: -> (.*))?")


def directives(text):
    for line in text.splitlines():
        found = LINE.fullmatch(line)
        if found is not None:
            yield found.groups()


def start(evaluator, words):
    name, *rest = words.split()
    options, args = {}, []
    context = b""
    for word in rest:
        key, equals, value = word.partition("=")
        if equals and key == "ctx":
            context = bytes.fromhex(value)
        elif equals:
            options[key] = bytes.fromhex(value) if key in ("packet", "meta") else int(value, 0)
        else:
            args.append(None if word == "null" else int(word, 0))
    return evaluator.run(name, context, *args, **options)


def test_there_are_cases():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_case(path):
    text = path.read_text()
    module = parse_module(text, path.name)
    assert print_module(parse_module(print_module(module))) == print_module(module)
    evaluator = Evaluator(module)
    result = None
    events: list[tuple[str, bytes]] = []
    printed: list[str] = []
    ran = 0
    for what, words, wanted in directives(text):
        if what in ("run", "fault"):
            assert not events and not printed, f"{path.name}: not everything was told"
            ran += 1
        if what == "run":
            result = start(evaluator, words)
            assert str(result.value) == wanted, words
            events = [(event.map, event.data) for event in result.events]
            printed = list(result.printed)
        elif what == "fault":
            with pytest.raises(EvaluationFault) as caught:
                start(evaluator, words)
            assert caught.value.code == wanted, str(caught.value)
        elif what == "event":
            name, data = words.split()
            assert events.pop(0) == (name, bytes.fromhex(data))
        elif what == "printed":
            assert printed.pop(0) == words
        else:
            name, key = words.split()
            assert str(evaluator.maps[name].get(int(key, 0))) == wanted, words
    assert not events and not printed and ran


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_cases_are_legal(path):
    from osmia.compiler.legality import problems

    assert [str(problem) for problem in problems(parse_module(path.read_text(), path.name))] == []
