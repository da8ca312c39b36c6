"""Text is read and written as UTF-8 in every language of the system: Windows has another default."""

import ast
import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FOLDERS = ("anystar_torch", "docs", "examples", "export")
FILES = [ROOT / "train.py", *(path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py")))]
TEXT = ("read_text", "write_text")


def without_encoding(tree):
    """Lines that open a file as text, and leave its encoding to the system."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if isinstance(node.func, ast.Attribute) and node.func.attr in TEXT:
            given = len(node.args) > (node.func.attr == "write_text")
        elif isinstance(node.func, ast.Name) and node.func.id == "open":
            given = "b" in mode_of(node.args[1:], named)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "open" and "newline" in named:
            given = False  # of a path: the csv module asks for this argument
        else:
            continue
        if not given and "encoding" not in named:
            yield node.lineno


def mode_of(places, named):
    mode = places[0] if places else named.get("mode")
    return mode.value if isinstance(mode, ast.Constant) else ""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.read_text()", [1]),
        ("path.write_text(text)", [1]),
        ("open(path)", [1]),
        ("open(path, 'w')", [1]),
        ("path.open(newline='')", [1]),
        ("path.read_text('utf-8'); path.write_text(text, encoding='utf-8')", []),
        ("open(path, 'rb'); open(path, mode='xb'); open(path, encoding='utf-8')", []),
        ("zarr.open(path); path.read_bytes()", []),
    ],
)
def test_a_text_file_without_an_encoding_is_found(code, found):
    assert list(without_encoding(ast.parse(code))) == found


def test_text_files_are_opened_with_an_encoding():
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{line}"
        for path in FILES
        for line in without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert not found


PROGRAM = """
import json, locale, sys
from pathlib import Path
from anystar_torch import AnyStar
from anystar_torch.exporting import monai_bundle
from anystar_torch.io import write_table
from anystar_torch.io.n5 import opened

with opened(Path("volume.n5")) as stored:
    units = dict(stored.units)
write_table(Path("table.csv"), [{"name": "\\u00b5"}], {"name": str})
model = AnyStar.from_pretrained()
monai_bundle.write(Path("bundle"), model.network, model.config, ["\\u0141ukasz"], "MIT")
print(json.dumps([locale.getpreferredencoding(False), units]))
"""


@pytest.mark.long
def test_letters_beyond_those_of_the_system(tmp_path):
    """Units of a file, a table, and the names of authors, where the system has the letters of ASCII alone."""
    attributes = {
        "dimensions": [4, 4, 4],
        "blockSize": [4, 4, 4],
        "dataType": "uint8",
        "resolution": [1, 1, 2],
        "units": ["\u00b5m"] * 3,
    }
    (tmp_path / "volume.n5").mkdir()
    text = json.dumps(attributes, ensure_ascii=False)
    (tmp_path / "volume.n5" / "attributes.json").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environment | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    encoding, units = json.loads(done.stdout)
    if sys.platform == "linux":
        assert encoding.lower() not in ("utf-8", "utf8")
    assert units == dict.fromkeys("xyz", "\u00b5m")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == "name\n\u00b5\n"
    assert "\u0141ukasz" in (tmp_path / "bundle" / "LICENSE").read_text(encoding="utf-8")
    assert "\u0141ukasz" in (tmp_path / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
