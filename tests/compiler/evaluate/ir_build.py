"""Modules from text, and evaluators of them."""

from __future__ import annotations

import pytest

from osmia.compiler.evaluate import EvaluationFault, Evaluator
from osmia.compiler.text import parse_module

HEAD = 'module "test" license "GPL"\n'


def build(text, **options):
    """An evaluator of a module without its first line."""
    return Evaluator(parse_module(HEAD + text), **options)


def body(text, params="", result="u64", kind="inline", head="", before="", **options):
    """An evaluator whose function ``f`` has these lines."""
    lines = text if text.lstrip().startswith("^") else "^entry:\n" + text
    return build(f"{before}\nfunction {kind} @f({params}) -> {result} {{\n{head}\n{lines}\n}}\n", **options)


def fault(code, evaluator, *args, function="f", **options):
    """Runs a function that must fault; returns the fault."""
    with pytest.raises(EvaluationFault) as caught:
        evaluator.run(function, *args, **options)
    assert caught.value.code == code, str(caught.value)
    return caught.value
