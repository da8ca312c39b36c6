"""Progress bars are drawn on a terminal only, and never on the output stream."""

import io
import sys

from anystar_torch.system.progress import bar, silent


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
