"""``anystar train`` passes every word to Hydra; completion knows groups, choices and keys."""

import os
import sys

import pytest
import typer

from anystar_torch import cli
from anystar_torch.cli.train import complete
from anystar_torch.training import main as entry


@pytest.mark.parametrize(
    "words",
    [
        ["+experiment=mix", "seed=3"],
        ["-m", "seed=1,2"],
        ["--help"],
        ["--cfg", "job", "--resolve"],
        ["--config-dir", "mine", "+experiment=mine", "~callbacks.samples"],
        [],
    ],
)
def test_every_word_arrives_in_its_order(words, monkeypatch):
    seen = []
    monkeypatch.setattr(entry, "main", seen.append)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *words])
    assert (ended.value.code, seen) == (0, [words])


@pytest.mark.long
def test_flags_and_overrides_may_be_mixed(monkeypatch, capsys):
    """Hydra alone refuses overrides on both sides of -m."""
    monkeypatch.setattr(sys, "argv", ["anystar", "train", "seed=1", "-m", "model=huge,giant"])
    with pytest.raises(SystemExit) as ended:
        cli.main(sys.argv[1:])
    assert ended.value.code == 2
    assert "Could not find 'model/huge'" in capsys.readouterr().err


def test_another_folder_of_configurations_is_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nrecipe: mine\n")
    words = ["train", "--config-dir", str(tmp_path), "+experiment=mine", "--cfg", "job"]
    monkeypatch.setattr(sys, "argv", ["anystar", *words])
    before = dict(os.environ)
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("recipe: mine\n")
    assert dict(os.environ) == before  # for the process that called it


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ([], "+experiment=m", ["+experiment=mix"]),
        ([], "hardware=", ["hardware=cpu", "hardware=ddp", "hardware=gpu", "hardware=laptop"]),
        (["+experiment=mix"], "trainer.max_s", ["trainer.max_steps="]),
        (["+experiment", "="], "m", ["mix"]),  # as bash divides it
        (["model=huge"], "trainer.max_s", []),
    ],
)
def test_completion(before, word, expected):
    context = typer.Context(typer.main.get_command(cli.app))
    context.params = {"overrides": before}
    assert complete(context, word) == expected


@pytest.mark.parametrize("full", ["0", "1"])
def test_an_unexpected_error_has_its_traceback_and_status_1(full, monkeypatch, capsys):
    """As python train.py; with HYDRA_FULL_ERROR=1 also refused settings arrive here."""

    def fail(words):
        raise ValueError("the reason")

    monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    monkeypatch.setattr(entry, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("ValueError: the reason\n")


def test_flags_may_follow_overrides(tmp_path, monkeypatch, capsys):
    words = ["train", "+experiment=plain", "--config-dir", str(tmp_path), "seed=3", "--cfg", "job"]
    monkeypatch.setattr(sys, "argv", ["anystar", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    assert "\nseed: 3\n" in capsys.readouterr().out
