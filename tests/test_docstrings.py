"""The examples in docstrings run, and show what they return."""

import doctest
import importlib
import re

import pytest

from tests.conftest import ROOT

# What a user of the package calls first; each has an example.
SHOWN = (
    "configuration.compose.load_synthesizer",
    "distributed.large.predict",
    "evaluation.matching.matching",
    "geometry.rays.Rays.golden_spiral",
    "geometry.rendering.render_labels",
    "geometry.suppression.nms",
    "geometry.targets.object_probability",
    "geometry.targets.star_distances",
    "inference.predictor.AnyStar.predict",
)


def modules_with_examples():
    files = sorted((ROOT / "anystar_torch").rglob("*.py"))
    with_examples = [file for file in files if re.search(r"^\s*>>> ", file.read_text(), re.MULTILINE)]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in with_examples]


def examples(module):
    """The examples of a module by the name of what they document, without the prefix of the package."""
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return {test.name.removeprefix("anystar_torch."): test for test in tests if test.examples}


@pytest.mark.long
@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_of_docstrings_run(module):
    found = examples(module)
    assert found
    for name, test in found.items():
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        lines = []
        runner.run(test, out=lines.append)
        assert runner.summarize(verbose=False).failed == 0, f"{name}:\n{''.join(lines)}"


@pytest.mark.parametrize("name", SHOWN)
def test_the_main_functions_have_an_example(name):
    module = "anystar_torch." + ".".join(part for part in name.split(".")[:2])
    assert name in examples(module)
