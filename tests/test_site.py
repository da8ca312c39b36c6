"""The pages of the site that are made when it is built agree with the commands and the configurations."""

import re

import pytest
from typer.testing import CliRunner

from anystar_torch.cli import app
from docs.site import commands, configs, generated, sources
from tests.conftest import ROOT


@pytest.mark.long
@pytest.mark.parametrize("name", ["predict", "relabel", "evaluate", "gallery", "export", "info"])
def test_the_reference_of_a_command_has_every_option_of_its_help(name):
    help_text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", help_text)) - {"--help"}
    text = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", commands.page(), re.DOTALL | re.MULTILINE)[1]
    assert options
    assert options <= set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))


def test_the_reference_of_the_configurations_has_every_file():
    page = configs.page()
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert files
    assert all(path.read_text().strip() in page for path in files)


def test_a_folder_of_configurations_without_a_title_is_an_error(monkeypatch):
    titles = {group: title for group, title in configs.GROUPS.items() if group != "model"}
    monkeypatch.setattr(configs, "GROUPS", titles)
    with pytest.raises(ValueError, match="model"):
        configs.files()


def test_links_to_files_of_the_repository_lead_to_their_pages():
    page = sources.DOCS / "api" / "index.md"
    text = "[a](../../anystar_torch/arrays.py) [b](../../configs/synth/zero_shot.yaml) [c](../predict.md#formats)"
    text += " [d](../../anystar_torch/cli) [e](../../configs)"
    assert sources.with_links(text, page, "../") == (
        "[a](../source/anystar_torch/arrays.py.md) [b](../configs.md#synth-zero-shot) [c](../predict.md#formats)"
        " [d](../cli.md) [e](../configs.md)"
    )


def test_files_that_pages_link_to_become_pages():
    made = generated.pages()
    assert (ROOT / "anystar_torch/inference/stages.py").read_text().strip() in made[
        "source/anystar_torch/inference/stages.py.md"
    ]
    notebook = made["source/examples/predict.ipynb.md"]
    assert notebook.count("data:image/png;base64,") == 2
    assert "](../../best_practices.md)" in notebook


def test_pages_of_the_project_link_to_pages_of_the_site():
    made = sources.project_pages()
    contributing = made["project/contributing.md"]
    assert "](../project/conduct.md)" in contributing
    assert "](../architecture.md#how-to-add)" in contributing
    assert "](docs/" not in "".join(made.values())
