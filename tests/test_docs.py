"""Links, names of files, options and repeated numbers of the documentation agree with the code."""

import importlib
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer.main
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from anystar_torch.cli import app
from anystar_torch.network import loading
from docs.site.sources import DESCRIBED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PRESENT = [page for page in PAGES if page.name != "history.md"]  # history.md names options of earlier commits
WEIGHTS = json.loads((loading.SHIPPED / "config.json").read_text())


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def code(page):
    """The pieces of inline code of a page, and the lines of its shell examples."""
    text = page.read_text()
    blocks = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    for language, block in blocks.findall(text):
        if language in ("", "bash"):
            yield from (line.partition(" #")[0].partition(";")[0] for line in block.splitlines())
    yield from (" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", blocks.sub("", text)))


def options(words):
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=\S*)?", word)}


def anchors(page):
    """The anchors of a page: its headings as GitHub names them, and those it sets itself."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = [re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", h).lower()).replace(" ", "-") for h in headings]
    return {*named, *re.findall(r'<a id="([^"]+)"', text)}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_a_page_links_to_is_there(page):
    for link, _, anchor in re.findall(r"\]\(([^)#\s]*)(#?)([^)\s]*)\)", page.read_text()):
        if "://" in link:
            continue
        target = page if not link else (page.parent / link).resolve()
        assert target.exists(), f"{page.name} links to {link}"
        assert target.suffix != ".png" or target.stat().st_size < 300_000, f"{link} is too large"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {target.name}#{anchor}"


SOURCES = [
    file
    for room in ("anystar_torch", "benchmarks", "configs", "export", "examples", "tests")
    for file in sorted((ROOT / room).rglob("*"))
    if file.suffix in (".py", ".yaml", ".md", ".hpp", ".cpp")
]
TEMPLATE = re.compile(r"NAME|[a-z]_$")  # a part of a path that stands for several files


def in_the_package(name):
    """Whether a dotted name of the package is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if part in getattr(found, "__annotations__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PRESENT, ids=page_id)
def test_files_that_a_page_names_exist(page):
    folders = "anystar_torch|benchmarks|configs|docs|examples|export|tests"
    for path in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*\w)", page.read_text()):
        assert (ROOT / path).exists() or TEMPLATE.search(path), f"{page.name} names {path}"


def test_the_files_of_the_architecture_exist():
    text = (DOCS / "architecture.md").read_text()
    rooms = {folder.name for folder in (ROOT / "anystar_torch").iterdir() if folder.is_dir()}
    for path in re.findall(r"`(\w+/[\w./]*)`", text):
        if path.split("/")[0] in rooms:
            assert (ROOT / "anystar_torch" / path).exists(), path


def test_names_of_the_package_in_docstrings_and_comments_exist():
    quoted = re.compile(r"(?:`~?|\.\. )(anystar_torch(?:\.\w+)+)")
    wrong = []
    for file in SOURCES:
        names = set(quoted.findall(file.read_text())) - {"anystar_torch.json"}
        wrong += [f"{file.relative_to(ROOT)}: {name}" for name in sorted(names) if not in_the_package(name)]
    assert not wrong


def test_every_page_is_in_the_index():
    index = (DOCS / "index.md").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\((\w+\.md)\)", index))
    assert all(f"](../{folder})" in index for folder in DESCRIBED)


@pytest.mark.parametrize("page", PRESENT, ids=page_id)
def test_options_of_anystar_on_a_page_exist(page):
    known = {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for name, command in typer.main.get_command(app).commands.items()
    }
    known["train"] |= {option for action in get_args_parser()._actions for option in action.option_strings}
    for command in code(page):
        program, name, *words = [*command.split(), "", ""]
        if program == "anystar" and name in known:
            assert options(words) <= known[name], f"{page.name}: {command}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_benchmarks_on_a_page_exist_with_their_options(page):
    for command in code(page):
        if not (match := re.search(r"python -m benchmarks\.(\w+)(.*)", command)):
            continue
        name, words = match.group(1), match.group(2).split()
        assert importlib.util.find_spec(f"benchmarks.{name}"), f"{page.name} names benchmarks.{name}"
        folder = ROOT / "benchmarks" / name
        files = [*folder.glob("*.py"), folder.with_suffix(".py"), ROOT / "benchmarks" / "report.py"]
        source = "".join(file.read_text() for file in files if file.is_file())
        assert all(f'"{option}"' in source for option in options(words)), f"{page.name}: {command}"


@pytest.mark.parametrize("page", PRESENT, ids=page_id)
def test_choices_of_the_configuration_on_a_page_exist(page):
    choice = re.compile(r"\b(experiment|hardware|model|synth|logger|debug)=(\w+)")
    own = [line for line in code(page) if "--config-dir" not in line]  # others name files of the reader
    for group, name in choice.findall("\n".join(own)):
        if name not in ("FOLDER", "DIR", "NAME", "pretrained"):
            assert (ROOT / "configs" / group / f"{name}.yaml").is_file(), f"{page.name}: {group}={name}"


def setting(path, key):
    return OmegaConf.select(OmegaConf.load(ROOT / "configs" / path), key)


def shipped(key):
    value = WEIGHTS
    for part in key.split("."):
        value = value[part]
    return value


REPEATED = [  # page, text with the number, where it stands
    ("training.md", r"([\d,]+) steps (?:of batch|with) \d", setting("train.yaml", "trainer.max_steps")),
    ("training.md", r"[\d,]+ steps (?:of batch|with) (\d+)", setting("train.yaml", "batch_size")),
    (
        "training.md",
        r"grid 2\) on a CPU, ([\d,]+) steps",
        setting("hardware/laptop.yaml", "trainer.max_steps"),
    ),
    ("training.md", r"([\d,]+) samples per step", setting("experiment/zero_shot_gpu.yaml", "batch_size")),
    ("model_card.md", r"`prob_thresh` ([\d.]+)", shipped("prob_thresh")),
    ("model_card.md", r"`nms_thresh` ([\d.]+)", shipped("nms_thresh")),
    ("model_card.md", r"objects of ([\d.]+) to [\d.]+ voxels \(median", shipped("diameter_band")[0]),
    ("model_card.md", r"voxels \(median ([\d.]+)", shipped("diameter_band")[1]),
    ("model_card.md", r"objects of [\d.]+ to ([\d.]+) voxels \(median", shipped("diameter_band")[2]),
    ("model_card.md", r"residual U-Net of (\d+) to \d+ features", shipped("architecture.backbone.widths")[0]),
    (
        "model_card.md",
        r"residual U-Net of \d+ to (\d+) features",
        shipped("architecture.backbone.widths")[-1],
    ),
    ("model_card.md", r"grid (\d+), \d+ rays", shipped("architecture.grid")[0]),
    ("model_card.md", r"grid \d+, (\d+) rays", shipped("architecture.rays")),
    ("results.md", r"`prob_thresh` ([\d.]+)", shipped("prob_thresh")),
    ("results.md", r"`nms_thresh` ([\d.]+)", shipped("nms_thresh")),
]


@pytest.mark.parametrize(("page", "text", "value"), REPEATED)
def test_numbers_that_pages_repeat_are_those_of_the_configuration(page, text, value):
    found = re.search(text, (DOCS / page).read_text())
    assert found, f"{page} does not say {text!r}"
    assert float(found.group(1).replace(",", "")) == pytest.approx(float(value))


def test_pages_name_the_hash_of_the_shipped_weights():
    from benchmarks.header import hash_of_weights

    digits = hash_of_weights(loading.SHIPPED)
    assert digits in (DOCS / "model_card.md").read_text()
    assert digits in (DOCS / "results.md").read_text()


def test_the_mean_of_the_embryos_in_the_results_is_that_of_its_rows():
    rows = [line.split("|") for line in (DOCS / "results.md").read_text().splitlines()]
    scores = [
        [float(cell) for cell in row[2:5]]
        for row in rows
        if row[1:] and row[1].startswith(" Emb") and len(row) > 11
    ]
    mean = next(row[2:5] for row in rows if row[1:] and "mean of the embryos" in row[1])
    assert np.mean(scores[:4], axis=0) == pytest.approx([float(cell) for cell in mean], abs=0.006)


def test_the_page_of_formats_names_every_ending():
    from anystar_torch import io

    table = [line for line in (DOCS / "formats.md").read_text().splitlines() if line.startswith("| ")]
    named = {ending for line in table for ending in re.findall(r"`(\.[a-z0-9.]+)`", line.split(" | ")[1])}
    assert named - {".png"} == set(io.KINDS)


def test_the_page_of_formats_repeats_the_bounds_of_a_voxel_size():
    from anystar_torch.io import voxel_size

    text = (DOCS / "formats.md").read_text()
    assert (
        f"more than {voxel_size.MOST_ELONGATED:g} times as long as wide, below a nanometre or above a" in text
    )
    assert (voxel_size.SMALLEST, voxel_size.LARGEST) == (1e-3, 1e4)
