"""The snippets of docs/export.md do what the page says."""

import re

import pytest

from anystar_torch.exporting import export
from tests.conftest import ROOT
from tests.exporting.networks import config, seeing

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("form", "path"), [("onnx", "network.onnx"), ("torch", "network.pt2")])
def test_snippets_run(form, path, tmp_path, monkeypatch):
    network = seeing()
    options = {"compiled": False} if form == "torch" else {}
    export(form, network, config(network), tmp_path / path, **options)
    monkeypatch.chdir(tmp_path)
    snippet = next(text for text in SNIPPETS if f'"{path}"' in text)
    names = {}
    exec(snippet, names)
    assert names["probability"].shape[1] == 1
    assert names["distances"].shape[1] == len(network.rays)
