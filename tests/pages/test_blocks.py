"""Every block of code of every page is run, parsed by what it names, or has a reason why it is neither."""

import pytest

from tests.conftest import ROOT
from tests.pages.blocks import blocks, commands
from tests.pages.test_python import ELSEWHERE, EXCUSED, HERE
from tests.pages.test_shell import PROGRAMS

LANGUAGES = ("bash", "python", "text", "yaml")


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_names_its_language(block):
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_block_of_python_runs_in_a_test_or_has_its_reason(block):
    if block.page in HERE:
        return
    if any(page == block.page and mark in block.text for page, mark in EXCUSED):
        return
    places = [test for (page, mark), test in ELSEWHERE.items() if page == block.page and mark in block.text]
    assert places, f"add {block} to tests/pages/test_python.py"
    assert all((ROOT / test).is_file() for test in places)


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_a_block_of_shell_has_known_programs(block):
    found = commands(block.text)
    assert found
    for words in found:
        assert PROGRAMS.handler(words), f"add a check of {words} to tests/pages/test_shell.py"


@pytest.mark.parametrize("block", blocks("text"), ids=str)
def test_printed_text_is_compared_in_a_test(block):
    assert block.page == "docs/tutorial.md"  # tests/pages/test_tutorial.py


def test_loops_variables_and_comments_of_shell_are_understood():
    text = 'for s in 1 2; do\n  a --x $s "b; c" \\\n    d  # e\ndone\nf && g  # h'
    assert commands(text) == [["a", "--x", "1", "b; c", "d"], ["f"], ["g"]]
