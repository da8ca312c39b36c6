"""The example in the documentation of prediction runs as it stands, but for the model it names."""

import re
from pathlib import Path

from anystar_torch.network import loading
from tests.inference.scenes import Sees, config

DOCS = Path(__file__).parent.parent / "docs"


def test_the_example_of_the_python_interface_runs(monkeypatch):
    monkeypatch.setattr(loading, "load_model", lambda path: (Sees().eval(), config()))
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "predict.md").read_text(), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, "predict.md", "exec"), names)
    assert names["found"].labels.shape == names["volume"].shape


def test_pictures_and_pages_that_are_linked_are_there_and_small():
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in link:
                target = page.parent / link
                assert target.exists(), f"{page.name} links to {link}"
                assert target.suffix != ".png" or target.stat().st_size < 300_000, f"{link} is too large"
