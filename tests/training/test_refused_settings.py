"""Settings that would fail in the middle of a training, or repeat samples, are refused before its first step."""

import re

import pytest
from hydra import compose, initialize_config_dir

from anystar_torch.configuration.compose import one_line
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training.runs import build
from anystar_torch.training.settings import REFUSED
from tests.training.runs import TINY, run

FEW = ["logger=none", "~callbacks.progress", "~callbacks.expected_end"]


@pytest.fixture(scope="module")
def composed():
    """Compose the configuration of a small run with more overrides."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        yield lambda *words: compose("train", [*TINY, *FEW, "run_folder=none", *words])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.precision=bf16-true", "must be one of 32-true, bf16-mixed, 16-mixed, got bf16-true"),
        ("trainer.precision=64", "got 64-true"),
        ("+trainer.limit_train_batches=1", "would repeat the same samples .* got 1; .* trainer.max_steps"),
        ("+trainer.overfit_batches=2", "would repeat"),
        ("trainer.val_check_interval='00:01:00:00'", "trainer.val_check_interval must be a number of steps"),
        ("data.normalisation=foo", "data.normalisation must be one of .*anystar.*, got 'foo'"),
        ("shape=[18,16,16]", r"multiples of \(4, 4, 4\) .* got \(18, 16, 16\)"),
        ("data.rays=5", "data.rays is 5, but that of the network is 8"),
        ("data.grid=[1,1,1]", r"data.grid is \(1, 1, 1\), but that of the network is \(2, 2, 2\)"),
        ("data.anisotropy=[2,1,1]", r"data.anisotropy is \(2.0, 1.0, 1.0\), but .* set model.anisotropy"),
        ("seed=null", "seed must be a whole number"),
        ("report.export.smallest_tile=-3", "report.export.smallest_tile must be a whole number"),
    ],
)
def test_what_would_fail_later_is_refused_in_one_line(composed, word, message):
    with pytest.raises(REFUSED) as refusal:
        build(composed(word))
    line = one_line(refusal.value)
    assert "\n" not in line
    assert re.search(message, line), line


OTHER_TYPES = {
    "trainer.max_steps=3.5": "trainer.max_steps must be a whole number, got 3.5",
    "batch_size=1.5": "batch_size must be a whole number",
    "data.samples_per_call=4.0": "multiple of batch_size, 2, got 4.0",
    "report.samples=1.5": "report.samples must be at least 1 and a whole number, got 1.5",
    "report.min_f1=abc": "report.min_f1 must be a number, got 'abc'",
}


@pytest.mark.long
@pytest.mark.parametrize("word", OTHER_TYPES)
def test_a_number_of_another_kind_is_refused_in_one_line(tmp_path, word):
    """In a process of its own, which does not check annotations, as for a user."""
    code, output = run(tmp_path / "run", word)
    assert code == 2, output
    line = output.strip().splitlines()[-1]
    assert OTHER_TYPES[word] in line
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "words",
    [
        ["+trainer.fast_dev_run=2", "trainer.precision=bf16-mixed"],
        ["model.anisotropy=[2,1,1]"],
        ["model.grid=[1,2,2]", "shape=[16,12,20]"],
    ],
)
def test_what_works_is_not(composed, words):
    build(composed(*words))
