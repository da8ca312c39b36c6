"""The check of language finds planted faults, says where they are, and lets correct text pass."""

import pytest

from tests.prose.__main__ import faults, main
from tests.prose.words import banned_names, long_sentences, parts_of

LONG = " ".join(["word"] * 41) + "."


def found(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return [(fault.line, fault.message.split(" ->")[0]) for fault in faults(path)]


def test_docstrings_comments_messages_and_names_of_python_are_checked(tmp_path):
    source = (
        '"""A module.\n\nThe second\nlook.\n"""\n'
        "x = 1  # shines\n"
        "# the haze\n# of a scene\n"
        'raise ValueError(f"{x} lies in the\\nhaze of the volume")\n'
        "def far_ahead(): pass\n"
    )
    assert found(tmp_path, "module.py", source) == [
        (4, "'look'"),
        (6, "'shines'"),
        (7, "'haze'"),
        (10, "'haze'"),
        (10, "name 'far_ahead': 'ahead'"),
    ]


def test_comments_and_keys_of_yaml_are_checked(tmp_path):
    source = "# all of the\n# world\nhaze: 3  # an eye\nother: '#haze'\n"
    assert found(tmp_path, "a.yaml", source) == [(2, "'world'"), (3, "'eye'"), (3, "name 'haze': 'haze'")]


def test_pages_are_checked_outside_of_code(tmp_path):
    page = "# Title\n\n```bash\nlook ahead\n```\n\nThe `--look` of a\nworld.\n\n| cell | hollow |\n| --- | --- |\n"
    assert found(tmp_path, "a.md", page) == [(7, "name 'look': 'look'"), (8, "'world'"), (10, "'hollow'")]


def test_comments_of_cpp_are_checked(tmp_path):
    assert found(tmp_path, "a.hpp", "int x = 3;  // the world\n// crumbs\n") == [
        (1, "'world'"),
        (2, "'crumbs'"),
    ]


def test_reference_pages_are_no_diaries(tmp_path):
    assert found(tmp_path, "a.md", "It is no\nlonger kept.\n") == [(1, "'no longer'")]


@pytest.mark.parametrize(
    "text",
    [
        "The ground truth is a label image.",
        "It looks up the size.",
        "world coordinates of NIfTI",
        "These do not look like\nobjects.",
        "Opened in a napari window.",
        "compiled ahead of time",
    ],
)
def test_the_terms_of_the_field_are_allowed(tmp_path, text):
    assert not found(tmp_path, "a.md", text)


def test_long_sentences_are_found_where_they_begin(tmp_path):
    assert found(tmp_path, "a.md", f"Short.\n\nA short one.\n{LONG}") == [
        (4, "a sentence of 41 words: split it (25 is enough)")
    ]


def test_items_arguments_and_cells_are_sentences_of_their_own(tmp_path):
    words = " ".join(["word"] * 30)
    page = f"- {words}\n- {words}\n\n| {words} | {words} |\n"
    assert not found(tmp_path, "a.md", page)
    arguments = f'def f():\n    """Does it.\n\n    Args:\n        a: {words}\n        b: {words}\n    """\n'
    assert not found(tmp_path, "a.py", arguments)


def test_examples_in_docstrings_and_programs_in_strings_are_no_sentences(tmp_path):
    words = " ".join(["word"] * 41)
    program = f"a = 1\nworld = 2\n{words.replace(' ', '; ')}\n"
    source = f'"""Title.\n\n    python {words}\n\nThe end.\n"""\nX = """\n{program}"""\n'
    assert not found(tmp_path, "a.py", source)


def test_abbreviations_and_decimals_end_no_sentence():
    assert not long_sentences("one " * 25 + "e.g. 0.5 " + "two. " + "three " * 20)
    assert long_sentences("one " * 25 + "e.g. 0.5 " + "three " * 20)


def test_identifiers_are_split_into_words():
    assert parts_of("RandomHaze_of2").split() == ["random", "haze", "of2"]


@pytest.mark.parametrize("name", ["RandomHaze", "second_look", "eye", "Eyes", "the_ground"])
def test_words_of_identifiers_are_found(name):
    assert banned_names(name, "a.py")


@pytest.mark.parametrize("name", ["quality", "world_size", "SlidingWindowInferer", "background", "lookup"])
def test_other_identifiers_are_allowed(name):
    assert not banned_names(name, "a.py")


def test_the_identity_matrix_of_torch_and_numpy_is_allowed(tmp_path):
    source = "a = torch.eye(3) + np.eye(3)\nb = self.eye\n"
    assert found(tmp_path, "a.py", source) == [(2, "name 'eye': 'eye'")]


def test_the_exit_status_says_whether_there_are_faults(tmp_path, capsys):
    (tmp_path / "bad.md").write_text("All of the world.\n")
    (tmp_path / "good.md").write_text("All of the scene.\n")
    assert main([str(tmp_path / "good.md")]) == 0
    assert main([str(tmp_path)]) == 1
    assert "bad.md:1: 'world' -> scene" in capsys.readouterr().out


def test_a_path_that_does_not_exist_is_an_error():
    with pytest.raises(SystemExit, match="there is no"):
        main(["nowhere"])
