"""Annotations of shapes that every supported NumPy accepts."""

import re

from tests.conftest import ROOT


def test_shapes_are_those_of_ndarray():
    """From NumPy 2.5 on NDArray is an alias that jaxtyping refuses, which only Python 3.12 and later can install."""
    wrong = re.compile(r"\b(Bool|Float|Int|Integer|Num|Real|Shaped|UInt)\d*\[NDArray\b")
    assert not [
        file.name for file in (ROOT / "anystar_torch").rglob("*.py") if wrong.search(file.read_text())
    ]
