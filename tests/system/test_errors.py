"""The reason of an error in one line."""

from anystar_torch.system.errors import first_line, last_line


def test_lines_that_are_empty_do_not_count():
    error = ValueError("\n  the reason \n\nwhere it happened\n")
    assert first_line(error) == "the reason"
    assert last_line(error) == "where it happened"


def test_an_error_without_a_message_is_named():
    assert first_line(KeyError()) == last_line(KeyError()) == "KeyError"
