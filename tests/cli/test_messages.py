"""The command line names the options that set the arguments of a message, where the command has them."""

import pytest

from anystar_torch.cli.messages import line_of, with_options


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("raise max_memory", "raise max_memory (option: --max-memory)"),
        ("check diameter and spacing", "check diameter and spacing (options: --diameter, --spacing)"),
        ("set channel to a number", "set channel to a number (option: --channel)"),
        ("a.tif has 3 channels", "a.tif has 3 channels"),
        ("/data/channel/a.tif is empty", "/data/channel/a.tif is empty"),
        ("frame-1.tif is empty", "frame-1.tif is empty"),
        ("scene.czi is empty", "scene.czi is empty"),
        ("my frame.tif is empty: set channel.", "my frame.tif is empty: set channel. (option: --channel)"),
        ("--diameter must be positive: diameter", "--diameter must be positive: diameter"),
    ],
)
def test_options_follow_the_arguments_they_set(line, expected):
    assert with_options(line) == expected


def test_only_options_of_the_command_are_named():
    assert (
        with_options("check diameter and spacing", ["spacing"])
        == "check diameter and spacing (option: --spacing)"
    )
    assert with_options("check diameter", []) == "check diameter"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n lines"), "two lines"),
        (FileNotFoundError(2, "No such file", "a.tif"), "No such file: a.tif"),
        (MemoryError(), "out of memory; lower max_memory, or give a smaller volume"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out of memory; lower max_memory, or give",
        ),
        (KeyError("x"), "unexpected KeyError: 'x' (ANYSTAR_DEBUG=1 shows where)"),
        (RuntimeError(), "unexpected RuntimeError: RuntimeError"),
    ],
)
def test_every_error_is_one_line(error, line):
    assert line_of(error).startswith(line)
    assert len(line_of(error).splitlines()) == 1
