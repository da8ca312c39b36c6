"""What the package imports is declared in pyproject.toml, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Where the name of an import differs from that of its distribution.
IMPORTED_AS = {
    "bioimageio-core": "bioimageio",
    "hydra-core": "hydra",
    "import-linter": "importlinter",
    "ome-zarr-models": "ome_zarr_models",
    "pillow": "PIL",
    "pylibczirw": "pylibCZIrw",
    "pytorch-ignite": "ignite",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "simpleitk": "SimpleITK",
}

# Declared although nothing imports them, each with the reason.
NOT_IMPORTED = {
    "aiohttp": "https:// in fsspec",
    "beartype": "the checks of shapes in tests/conftest.py, by its name",
    "bioio-czi": "a reader that bioio finds",
    "bioio-lif": "a reader that bioio finds",
    "bioio-nd2": "a reader that bioio finds",
    "check-jsonschema": "make lint",
    "flask": "the server of moto",
    "flask-cors": "the server of moto",
    "bokeh": "the dashboard of Dask",
    "fire": "python -m monai.bundle, which runs an exported bundle",
    "hydra-joblib-launcher": "a launcher that Hydra finds",
    "imagecodecs": "LZW, Zstandard and JPEG in tifffile",
    "import-linter": "lint-imports, in make test",
    "ipykernel": "runs the example notebook",
    "jsonschema": "monai.bundle verify_metadata",
    "mkdocs-material": "the theme in mkdocs.yml",
    "mkdocstrings": "a plugin in mkdocs.yml",
    "mypy": "make test",
    "s3fs": "s3:// in fsspec",
    "nanobind": "the build of the native module",
    "onnx": "torch.onnx.export",
    "onnxscript": "torch.onnx.export",
    "pre-commit": "checks before a commit",
    "pydantic": "an upper bound for bioimageio.spec",
    "pytorch-ignite": "the evaluator of an exported MONAI bundle",
    "pyqt6": "the Qt that qtpy imports",
    "pytest-cov": "make fast",
    "pytest-qt": "tests/napari/conftest.py, by the name of its plugin",
    "pytest-xdist": "make test",
    "ruff": "make test",
    "stardist": "bioimageio.core computes its postprocessing with it",
    "tensorboard": "lightning.pytorch.loggers.TensorBoardLogger of configs/logger",
    "zizmor": "make lint",
}
# Imported at the top of a module although an extra brings them: modules that are imported only where they are used.
OPTIONAL_MODULES = {
    "triton": "anystar_torch/kernels/triton/",
    "bioimageio": "anystar_torch/exporting/",
    "h5py": "anystar_torch/network/keras_import.py",
    **dict.fromkeys(("napari", "pandas", "qtpy"), "anystar_torch/napari/"),
}


def declared(requirements):
    """Distributions of a list of requirements, normalised, without those of this project."""
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names} - {"anystar-torch"}


@cache
def imports(*folders, everywhere=True):
    """Name of an imported package -> files that import it.

    Args:
        folders: of Python files, or single files.
        everywhere: whether imports inside of functions count too.
    """
    found = {}
    files = [path for folder in folders for path in (folder.rglob("*.py") if folder.is_dir() else [folder])]
    for path in files:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree) if everywhere else top_level(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(path.relative_to(ROOT).as_posix())
    ours = {"anystar_torch", "tests", "benchmarks", "docs", "serve"}
    return {
        name: places
        for name, places in found.items()
        if name not in sys.stdlib_module_names and name not in ours
    }


def top_level(tree):
    """Statements that run when a module is imported, except those under TYPE_CHECKING."""
    for node in tree.body:
        checked = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if isinstance(node, ast.If | ast.Try) and not checked:
            yield from node.body
        else:
            yield node


def import_names(distributions):
    return {IMPORTED_AS.get(name, name) for name in distributions}


CORE = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
PACKAGE = ROOT / "anystar_torch"


@pytest.mark.long
def test_what_the_package_imports_is_declared():
    known = import_names(CORE.union(*EXTRAS.values()))
    unknown = {
        name: places for name, places in imports(PACKAGE, ROOT / "train.py").items() if name not in known
    }
    assert not unknown


def test_what_is_imported_with_a_module_is_no_optional_dependency():
    core = import_names(CORE)
    for name, places in imports(PACKAGE, everywhere=False).items():
        optional = OPTIONAL_MODULES.get(name)
        assert name in core or all(optional and place.startswith(optional) for place in places), (
            name,
            places,
        )


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CORE.union(*(EXTRAS[extra] for extra in EXTRAS if extra != "dev"))))
def test_what_is_declared_is_imported(name):
    used = IMPORTED_AS.get(name, name) in imports(PACKAGE, ROOT / "docs", ROOT / "export", ROOT / "examples")
    assert used != (name in NOT_IMPORTED), "imported and excused" if used else "not imported"


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(EXTRAS["dev"]))
def test_what_development_needs_is_used(name):
    used = IMPORTED_AS.get(name, name) in imports(ROOT / "tests", ROOT / "benchmarks")
    assert used or name in NOT_IMPORTED


@pytest.mark.long
def test_what_tests_and_benchmarks_import_is_declared():
    known = import_names(CORE.union(*EXTRAS.values())) | {
        "tensorflow",  # a peer's
        "nbformat",  # nbclient brings it
        "griffe",  # mkdocstrings brings it
    }
    assert set(imports(ROOT / "tests", ROOT / "benchmarks", ROOT / "docs")) <= known
