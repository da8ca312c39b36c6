"""What a code host, conda and Docker read agrees with the package: targets, requirements, versions, paths."""

import re
import tomllib

import pytest
import yaml

from anystar_torch import __version__
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def steps(workflow):
    """The steps of every job of a workflow."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job.get("steps", [])]


def targets():
    rules = re.findall(r"^([\w $()./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def parts(requirement):
    """Name and versions of a requirement of pip or conda."""
    name, versions = re.fullmatch(r"([\w.-]+) ?([<>=0-9.,]*).*", requirement).groups()
    return name.lower(), versions


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_targets_that_exist(workflow):
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            if line.startswith("make "):
                assert {word for word in line.split()[1:] if "=" not in word} <= targets()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_the_code_that_was_reviewed(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used)


def test_the_oldest_python_is_tested_on_every_system():
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    oldest, newest = job["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={oldest}"
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert (named[0], named[-1]) == (oldest, newest)


def test_the_oldest_napari_is_tested():
    (oldest,) = [
        r[len("napari>=") :] for r in PROJECT["optional-dependencies"]["napari"] if r.startswith("napari")
    ]
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["napari"]
    runs = " ".join(step.get("run", "") for step in job["steps"])
    assert f'"napari=={oldest}.*"' in runs
    assert "pytest" in runs
    assert f"napari {oldest} or" in (ROOT / "docs" / "napari.md").read_text()


def test_conda_asks_for_what_the_package_asks_for():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    wanted = {}
    for requirement in PROJECT["dependencies"]:
        name, versions = parts(requirement)
        wanted[CONDA_NAMES.get(name, name)] = versions
    found = dict(parts(line) for line in recipe["requirements"]["run"])
    assert found == {"python": "", **wanted}
    assert recipe["context"]["version"] == __version__


def test_a_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == __version__
    released = re.findall(
        r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert not released or released[0] == __version__


def test_the_image_gets_what_a_build_needs():
    given = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    needed = {"CMakeLists.txt", "LICENSE", "README.md", "anystar_torch", "configs", "pyproject.toml"}
    assert set(given) == needed
    assert all((ROOT / path).exists() for path in given)
