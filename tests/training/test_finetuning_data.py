"""Settings of the data of a fine-tuning that follow from the network that it starts from."""

import numpy as np
import pytest
import tifffile
import torch

from anystar_torch import load_synthesizer
from anystar_torch.training.finetuning_data import FineTuningData
from tests.training.annotated import volume, write_start
from tests.training.test_annotated_crops import crops


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return write_start(tmp_path_factory.mktemp("given"))


def data(folder, held_out=0.0, **settings):
    annotated = {"image": str(folder / "a.tif"), "labels": str(folder / "a_labels.tif")}
    return FineTuningData(
        annotated=[annotated],
        annotated_share=1.0,
        held_out=held_out,
        crops=crops(),
        start=str(folder / "start"),
        synthesizer=load_synthesizer("plain", shape=(16, 16, 16), seed=1),
        batch_size=1,
        validation_samples=1,
        **settings,
    )


@pytest.mark.parametrize(
    ("name", "value", "own"),
    [
        ("rays", 32, "16"),
        ("grid", [1, 1, 1], r"\(2, 2, 2\)"),
        ("anisotropy", [2, 1, 1], r"\(1.0, 1.0, 1.0\)"),
    ],
)
def test_settings_that_the_network_determines_are_refused(given, name, value, own):
    expected = (
        rf"data.{name} must be null in a fine-tuning, got .*{own}; leave data.{name} out, or .*warm_start="
    )
    with pytest.raises(ValueError, match=expected) as caught:
        data(given, **{name: value})
    assert "\n" not in str(caught.value)


def test_the_normalisation_of_the_settings_is_that_of_the_trained_model(given):
    settings = {"rays": None, "grid": None, "anisotropy": None}
    own, other = data(given, **settings, normalisation=None), data(given, normalisation="minmax")
    assert (own.normalisation, own.config.normalisation) == ("clipped", "clipped")
    assert (other.normalisation, other.config.normalisation) == ("minmax", "minmax")
    assert other.start_config.normalisation == "clipped"  # the network before, to compare with
    images = [made._volumes(torch.device("cpu")).images.values for made in (own, other)]
    assert (images[0] == 1).sum() > 10 * (images[1] == 1).sum()
    with pytest.raises(ValueError, match=r"normalisation must be one of .*, got 'none'"):
        data(given, normalisation="none")


def test_volumes_without_voxel_size_have_the_voxels_of_the_network(tmp_path):
    folder = write_start(tmp_path, (2.0, 1.0, 1.0))
    image, labels = volume()
    for name, array in (("a.tif", image), ("a_labels.tif", labels)):
        tifffile.imwrite(folder / name, np.ascontiguousarray(array[::2]))
    (annotation,) = data(folder).division.trained
    assert annotation.spacing == (2, 1, 1)
