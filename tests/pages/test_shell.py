"""The commands of the pages are accepted by what they name: the command line, Hydra, make, pip, the benchmarks."""

import importlib.util
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from anystar_torch.cli import app
from anystar_torch.configuration.resolvers import register_resolvers
from tests.conftest import ROOT
from tests.pages.blocks import blocks, commands
from tests.test_hosting import targets

CONFIGS = ROOT / "configs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARSED = typer.main.get_command(app).commands


def anystar(words, folder):
    """Parse a command as ``anystar`` does, without running it."""
    if words[0] == "train":
        train(words[1:], folder)
    else:
        PARSED[words[0]].make_context(words[0], words[1:])


def train(words, folder):
    """Compose the configuration of a training; of a sweep, that of its first job."""
    (folder / "experiment").mkdir(exist_ok=True)
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [mix]\n")
    flags = get_args_parser().parse_args(
        sorted(words, key=lambda word: word != "-m")
    )  # as training.main does
    overrides = OverridesParser.create().parse_overrides(flags.overrides)
    assert flags.multirun or not any(override.is_sweep_override() for override in overrides)
    lines = [first_of(override) for override in overrides]
    if flags.config_dir:
        lines.append(f"hydra.searchpath=[file://{folder}]")
    if flags.config_path:  # the stored configuration of a run has no groups
        lines.append("+experiment=mix")
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", lines, return_hydra_config=True)
    assert config.trainer.max_steps > 0


def first_of(override):
    """An override as text; of a sweep, with its first value."""
    if not override.is_sweep_override():
        return override.input_line
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def make(words, folder):
    assert {word for word in words if "=" not in word} <= targets()


def pip(words, folder):
    assert words[0] == "install"
    names = [word for word in words[1:] if not word.startswith("-") and word != "constraints-cpu.txt"]
    assert names
    for name in names:
        if extras := re.fullmatch(r"(?:\.|anystar_torch)\[(.+)\]", name):
            assert set(extras[1].split(",")) <= PROJECT["optional-dependencies"].keys()
        else:
            assert name == "." or any(
                re.match(name, part) for part in PROJECT["optional-dependencies"]["dev"]
            )


def python(words, folder):
    """A module or a script of the repository, with options that it knows."""
    if words[0] == "train.py":
        train(words[1:], folder)
    elif words[0] != "-m":
        accepts(str(ROOT / words[0]), words[1:])
    elif words[1].startswith("benchmarks"):
        assert_options_of_benchmark(words[1], words[2:])
    elif words[1] == "pytest":
        assert all((ROOT / word).exists() for word in words[2:] if "/" in word)
    else:
        assert importlib.util.find_spec(words[1]), words[1]


def accepts(script, words):
    """Whether a script of ``export/`` and the command that it calls know the options; nothing is exported."""
    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *words])
        patch.setattr("anystar_torch.cli.main", called.append)
        runpy.run_path(script, run_name="__main__")
    for arguments in called:
        anystar(arguments, None)
    assert called


def assert_options_of_benchmark(module, words):
    folder = ROOT.joinpath(*module.split("."))
    files = [*folder.glob("*.py"), folder.with_suffix(".py"), ROOT / "benchmarks" / "report.py"]
    source = "".join(file.read_text() for file in files if file.is_file())
    assert importlib.util.find_spec(module)
    assert all(f'"{word}"' in source for word in words if word.startswith("--"))


def bash(words, folder):
    assert (ROOT / words[0]).is_file()


def monai_bundle(words, folder):
    assert words[0] in ("run", "verify_metadata")


class Programs:
    """What checks a command, by its first words; a reason in place of a check where it cannot be parsed."""

    def __init__(self, known):
        self.known = known

    def handler(self, words):
        """The check of a command and the words it gets, without environment variables."""
        words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        for length in (3, 2, 1):
            check = self.known.get(" ".join(words[:length]))
            if check:
                return check, words[length:]
        return None


PROGRAMS = Programs(
    {
        "anystar": anystar,
        "srun anystar": anystar,
        "python": python,
        "make": make,
        "pip": pip,
        "bash": bash,
        "python -m monai.bundle": monai_bundle,
        "python -m venv": "of Python itself",
        "python3.11 -m venv": "of Python itself",
        "PEER/bin/pip": "of the environment of StarDist",
        "source": "of the shell",
        "cmake": "make setup builds the module",
        ".venv/bin/pre-commit": "make lint validates its configuration",
        "bioimageio test": "tests/exporting/test_bioimageio.py calls what it calls",
        "jupyter execute": "tests/test_notebook.py runs the notebook",
        "napari": "opens a viewer; tests/napari opens it without a screen",
    }
)


@pytest.mark.long
@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_the_commands_of_a_block_are_accepted(block, tmp_path):
    for words in commands(block.text):
        check, arguments = PROGRAMS.handler(words)
        if callable(check):
            check(arguments, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "anystar predict nuclei.tif --diametre 8um",
        "anystar export --format onx -o network.onnx",
        "anystar evaluate truth.tif",
        "anystar train +experiment=mixed",
        "anystar train +experiment=mix batchsize=4",
        "anystar train +experiment=mix seed=1,2",
        "python train.py +experiment=mix hardware=laptop --confg job",
        "python -m benchmarks.training --repeat 3",
        "python -m benchmarks.nothing",
        "make tests",
        "pip install '.[exports]'",
        "bash benchmarks/cpu.sh",
        "python export/to_onnx.py --modell MODEL -o network.onnx",
    ],
)
def test_a_wrong_command_is_refused(line, tmp_path):
    (words,) = commands(line)
    check, arguments = PROGRAMS.handler(words)
    with pytest.raises((Exception, SystemExit)):
        check(arguments, Path(tmp_path))


@pytest.mark.long
@pytest.mark.parametrize(
    ("recipe", "steps", "slabs"),
    [
        ("two_stages", ["trainer.max_steps=6000", "trainer.max_steps=2000"], 0.12),
        ("mine", ["trainer.max_steps=14000"], 0.5),
    ],
)
def test_a_recipe_of_a_page_trains_what_the_page_says(recipe, steps, slabs, tmp_path):
    for block in blocks("yaml", "docs/training.md"):
        path = tmp_path / re.search(r"^# my_configs/(\S+\.yaml)", block.text, re.MULTILINE)[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        searched = f"hydra.searchpath=[file://{tmp_path}]"
        config = compose("train", [f"+experiment={recipe}", searched], return_hydra_config=True)
    parts = [*config.stages, *(config.branches if config.stages else [])]
    alone = [f"trainer.max_steps={config.trainer.max_steps}"]
    assert [part[0] for part in parts or [alone]] == steps
    assert config.synth.scene.slab.p == slabs


@pytest.mark.parametrize("block", blocks("yaml", "docs/effects.md"), ids=str)
def test_an_effect_of_a_page_is_built(block):
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    built = instantiate(OmegaConf.create(block.text))
    assert built.motion.blurs is True
    assert built.motion.transform.probability == 0.3


def test_every_block_of_yaml_is_checked_here():
    assert {block.page for block in blocks("yaml")} == {"docs/effects.md", "docs/training.md"}
