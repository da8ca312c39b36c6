"""Progress bars are drawn on a terminal only, and never on the output stream."""

import io
import sys

import pytest

from anystar_torch.system.progress import bar, reporting, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_where_the_error_stream_is_no_terminal(monkeypatch, capsys):
    with bar("predicting") as tick:
        assert tick is silent
        tick(1, 2)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with bar("predicting", shown=False) as tick:
        assert tick is silent
    assert sys.stderr.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_title_and_the_output_stream_stays_empty(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with bar("predicting") as tick:
        tick(1, 2)
    assert "predicting" in sys.stderr.getvalue()
    assert capsys.readouterr().out == ""


def test_under_reporting_a_bar_calls_the_function_instead():
    seen = []
    with reporting(lambda *state: seen.append(state)), bar("predicting", False) as tick:
        tick(1, 3)
    with bar("predicting", False) as tick:
        tick(2, 3)
    assert seen == [("predicting", 1, 3)]


def test_an_exception_of_the_listener_ends_the_work():
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reporting(stop), bar("predicting") as tick:
        tick(1, 3)
    with bar("predicting", False) as tick:
        assert tick is silent
