"""SIGTERM outside of the steps of a training."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from anystar_torch.training import main
from anystar_torch.training.signals import sigterm_as_ctrl_c


@pytest.fixture(autouse=True)
def restored():
    """The handler of this process before and after a test is that of a new process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate():
    signal.raise_signal(signal.SIGTERM)


def test_sigterm_interrupts_as_ctrl_c_does():
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        terminate()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_handler_of_a_program_stays():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with sigterm_as_ctrl_c():
        terminate()
    assert seen == [signal.SIGTERM]


def test_another_thread_changes_nothing():
    def handler():
        with sigterm_as_ctrl_c():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.SIG_DFL


def test_sigterm_before_the_training_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "check_unused", lambda folder: terminate())
    with pytest.raises(SystemExit) as ended:
        main.main(["+experiment=plain", f"run_folder={tmp_path / 'run'}"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1].endswith(": stopped")
