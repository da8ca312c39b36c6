"""The table of docs/generator.md that switches properties on and off."""

import re

import pytest

from anystar_torch.configuration.compose import load_synthesizer
from tests.conftest import ROOT

PAGE = (
    (ROOT / "docs" / "generator.md").read_text().partition("### Switching properties")[2].partition("###")[0]
)
ROWS = [line.split("|")[1:4] for line in PAGE.splitlines() if line.startswith("| ")][2:]
EXAMPLES = [
    (recipe, override)
    for row in ROWS
    for recipe, cell in zip(("zero_shot", "mix"), row[1:], strict=True)
    for override in re.findall(r"`([^`]+=[^`]+)`", cell)
]


def test_the_table_is_read() -> None:
    assert len(ROWS) == 15
    assert {override.split("=")[0] for recipe, override in EXAMPLES if recipe == "mix"} >= {
        "scene.slab.p",
        "+scene.objects.variety",
        "+effects.effects.attenuation",
    }


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "override"), EXAMPLES)
def test_an_example_loads_and_has_its_plus_only_where_the_key_is_missing(recipe: str, override: str) -> None:
    load_synthesizer(recipe, shape=(16, 16, 16), overrides=[override])
    if override.startswith("+"):
        with pytest.raises(ValueError, match=override.split("=")[0].split(".")[-1]):
            load_synthesizer(recipe, shape=(16, 16, 16), overrides=[override[1:]])
