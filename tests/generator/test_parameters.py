"""What a parameter cannot be is refused in one line that names it, when the generator is made."""

import json
import os
import subprocess
import sys

import pytest

from anystar_torch.generator.parameters import check_chance, check_range, check_whole, check_whole_numbers

WRONG = [
    ("scene.slab.thickness=[2.5,4]", "thickness must be"),
    ("scene.slab.thickness=4", "thickness must be"),
    ("scene.slab.thickness=[5,4]", "thickness must be"),
    ("scene.smallest=8.5", "smallest must be a whole number"),
    ("scene.objects.surface.cell=16.5", "cell must be a whole number"),
    ("scene.mixture.texture.scales=[2,4.5]", "scales must be"),
    ("scene.mixture.texture.scales=2", "scales must be"),
    ("scene.mixture.background.patches.most=2.5", "most must be a whole number"),
    ("scene.mixture.background.patches.scales=[32.5]", "scales must be"),
    ("scene.mixture.background.patches.warp_scales=16", "warp_scales must be"),
    ("scene.density.factors=2", "factors must be"),
    ("placement.least=128.5", "least must be a whole number"),
    ("placement.times=1.5", "times must be a whole number"),
    ("placement.zoom.factor=1.2", "factor must be two finite numbers"),
    ("placement.zoom.factor=[a,b]", "factor must be two finite numbers"),
    ("placement.zoom.factor=null", "factor must be two finite numbers"),
    ("placement.orient.flip=null", "flip must be a probability"),
    ("placement.orient=null", "placement.orient must not be null"),
    ("scene.slab=null", "scene.slab must not be null"),
    ("effects.effects.histogram_shift.points=9.5", "points must be a whole number"),
    ("effects.effects.contrast=null", "contrast must be an effect"),
    ("effects.effects.microscope.camera=null", "camera must be an effect"),
    ("scene.objects.surface=null", "surface must not be null"),
    ("finish.dropout.holes=2.5", "holes must be a whole number"),
    ("finish.dropout.size=2.5", "size must be a whole number"),
    ("finish.rescale=null", "rescale must be an effect"),
    ("finish.dropout=null", "dropout must be an effect"),
    ("finish.noise.effects.detector_noise=null", "detector_noise must be an effect"),
]


SCRIPT = """
import json, sys
from anystar_torch import load_synthesizer

said = {}
for override in json.load(sys.stdin):
    recipe = "zero_shot" if "microscope" in override else "mix"
    try:
        load_synthesizer(recipe, shape=(16, 16, 16), overrides=[override])
        said[override] = "nothing"
    except ValueError as error:
        said[override] = str(error)
json.dump(said, sys.stdout)
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """Override -> message, as users see it: the annotations of types, which tests check, refuse some values before."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([override for override, _ in WRONG]),
        env=os.environ | {"ANYSTAR_UNCHECKED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize(("override", "says"), WRONG)
def test_a_wrong_value_is_refused_by_name(override: str, says: str, said: dict[str, str]) -> None:
    assert says in said[override]
    assert "\n" not in said[override]


def test_values_inside_of_the_bounds_pass() -> None:
    check_whole("n", 3, 3, 3)
    check_whole_numbers("n", [2, 2, 5], 2, 5)
    check_range("r", (1, 2.0), 1.0, 2.0)
    check_chance("p", 1)


@pytest.mark.parametrize("value", [2, 6, 3.0, True, None, "3", [3]])
def test_what_is_no_whole_number_or_outside_of_the_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="n must be a whole number from 3 to 5, got "):
        check_whole("n", value, 3, 5)
    with pytest.raises(ValueError, match="n must be whole numbers from 3 to 5, got "):
        check_whole_numbers("n", [value], 3, 5)
