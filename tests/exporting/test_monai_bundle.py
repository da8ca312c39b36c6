"""MONAI bundles: ``monai.bundle`` verifies one and runs it on a folder of volumes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, verify_metadata

from anystar_torch.exporting import export
from anystar_torch.exporting.inferer import InstanceInferer, volumes
from anystar_torch.exporting.specimen import specimen
from anystar_torch.inference.predictor import AnyStar
from tests.exporting.networks import config, seeing

# The mandatory entries of MONAI's bundle specification; its own schema is downloaded by verify_metadata.
TENSOR = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "format": {"type": "string"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "dtype": {"type": "string"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
TENSORS = {"type": "object", "minProperties": 1, "additionalProperties": TENSOR}
TEXTS = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "task",
    "description",
    "authors",
    "copyright",
)
SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        "required_packages_version": {"type": "object"},
        "network_data_format": {
            "type": "object",
            "properties": {name: TENSORS for name in ("inputs", "outputs", "post_processed_outputs")},
            "required": ["inputs", "outputs"],
        },
    },
    "required": [*TEXTS, "schema", "required_packages_version", "network_data_format"],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    network, path = seeing(), tmp_path_factory.mktemp("monai") / "bundle"
    assert export("monai", network, config(network), path) == [path]
    return path


def test_metadata_is_verified(bundle, tmp_path):
    schema, metadata = tmp_path / "schema.json", bundle / "configs" / "metadata.json"
    schema.write_text(json.dumps(SCHEMA))
    known = {"filepath": str(schema), "hash_val": hashlib.md5(schema.read_bytes()).hexdigest()}
    verify_metadata(meta_file=str(metadata), **known)
    content = json.loads(metadata.read_text())
    del content["network_data_format"]["inputs"]["image"]["dtype"]
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="dtype"):
        verify_metadata(meta_file=str(tmp_path / "damaged.json"), **known)


@pytest.mark.long
def test_it_runs_on_a_folder_of_volumes(bundle, tmp_path):
    network = seeing()
    volume = specimen(network, config(network))[:, :28, :30]
    cases = {"a.nii.gz": (volume, (0.8, 0.5, 0.5)), "b.nii": (volume[::-1].copy(), (1.0, 1.0, 1.0))}
    (tmp_path / "volumes").mkdir()
    for name, (array, (z, y, x)) in cases.items():
        image = nib.Nifti1Image(array.transpose(2, 1, 0), np.diag([-x, y, z, 1]))
        nib.save(image, tmp_path / "volumes" / name)
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        f"{bundle}/configs/inference.json",
    ]
    command += ["--bundle_root", str(bundle), "--dataset_dir", str(tmp_path / "volumes")]
    command += ["--output_dir", str(tmp_path / "labels"), "--diameter", "10", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "labels").iterdir()) == ["a_labels.nii.gz", "b_labels.nii.gz"]
    for name, (array, (z, y, x)) in cases.items():
        written = nib.load(tmp_path / "labels" / f"{name.split('.')[0]}_labels.nii.gz")
        np.testing.assert_allclose(written.affine, np.diag([-x, y, z, 1]), atol=1e-6)
        found = AnyStar(network, config(network)).predict(
            array, spacing=(z, y, x), diameter=10, device="cpu", progress=False
        )
        assert len(found) > 3
        assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), found.labels)


@pytest.mark.long
def test_a_bundle_of_an_earlier_version_runs(bundle):
    """``stored/monai_inference.json`` was written before the package had its present modules."""
    stored = Path(__file__).parent / "stored" / "monai_inference.json"
    parser = ConfigParser()
    parser.read_config(stored)
    parser.update({"bundle_root": str(bundle), "device": "$torch.device('cpu')", "diameter": 10})
    network, inferer = (parser.get_parsed_content(name) for name in ("network_def", "inferer"))
    network.load_state_dict(torch.load(bundle / "models" / "model.pt"))
    assert network.architecture == seeing().architecture
    assert inferer.config == config(seeing())
    volume = torch.from_numpy(specimen(network, inferer.config))
    labels = inferer(volume.permute(2, 1, 0)[None, None], network.eval())
    found = AnyStar(seeing(), config(seeing())).predict(
        volume, spacing=(1, 1, 1), diameter=10, device="cpu", progress=False
    )
    assert len(found) > 3
    assert np.array_equal(labels[0, 0].permute(2, 1, 0).numpy(), found.labels)


@pytest.mark.long
def test_the_inferer_takes_batches_and_our_networks_alone():
    network = seeing()
    known = config(network)
    inferer = InstanceInferer(known.as_dict(), diameter=10, progress=False)
    volume = torch.from_numpy(specimen(network, known))
    image = volume.permute(2, 1, 0)[None, None]
    labels = inferer(torch.cat([image, image.flip(2)]), network)
    assert labels.shape == (2, *image.shape[1:])
    assert labels.dtype == torch.int32
    found = AnyStar(network, known).predict(
        volume, spacing=(1, 1, 1), diameter=10, device="cpu", progress=False
    )
    assert np.array_equal(labels[0, 0].permute(2, 1, 0).numpy(), found.labels)
    with pytest.raises(TypeError, match="must be a StarDist"):
        inferer(image, torch.nn.Identity())


@pytest.mark.parametrize("shape", [(1, 3, 8, 8, 8), (1, 8, 8, 8)])
def test_the_inferer_refuses_several_channels(shape):
    network = seeing()
    inferer = InstanceInferer(config(network).as_dict(), diameter=10, progress=False)
    with pytest.raises(ValueError, match=r"must be \[B, 1, X, Y, Z\], got"):
        inferer(torch.rand(shape), network)


def test_a_folder_without_volumes_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="holds no volume"):
            volumes(folder)
