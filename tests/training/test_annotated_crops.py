"""Crops of annotated volumes against brute force, and what their targets leave out of the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch import load_synthesizer
from anystar_torch.generator.chain import Chain
from anystar_torch.generator.effects.gamma import RandomContrast
from anystar_torch.generator.effects.noise import RandomGaussianNoise
from anystar_torch.generator.spatial.elastic import RandomElastic
from anystar_torch.generator.spatial.orientation import RandomOrientation
from anystar_torch.generator.spatial.zoom import RandomZoom
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.network import loading
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.training.annotated_crops import AnnotatedCrops, RandomView
from anystar_torch.training.annotated_volumes import AnnotatedVolumes, mirrored
from anystar_torch.training.annotation import UNKNOWN, Annotation
from anystar_torch.training.finetuning_data import FineTuningData, is_crop
from tests.training.test_annotation import ball

RAYS = Rays.golden_spiral(8)
TARGET = 12.0


def annotation(shape=(20, 50, 40), spacing=(2.0, 1.0, 1.0), seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    ball(labels, 1, (6, 12, 12), 8, (0.5, 1, 1))
    ball(labels, 2, (12, 36, 26), 9, (0.5, 1, 1))
    image = ndimage.gaussian_filter((labels > 0) * 100.0 + rng.normal(20, 10, shape), 0.5).astype(np.float32)
    labels[:, :, 37:] = UNKNOWN
    return Annotation(name="a", image=image, labels=labels, spacing=spacing, diameter=16.0)


def crops(shape=(16, 16, 16), still=False):
    """Crops with all effects, or in the volume's own position and grey values."""
    view = RandomView(
        zoom=RandomZoom(factor=[1.0, 1.0] if still else [0.6, 1.25]),
        turn=[0.0, 0.0] if still else [-180.0, 180.0],
        tilt=[0.0, 0.0] if still else [-10.0, 10.0],
        orient=RandomOrientation(flip=0.0 if still else 0.5, turn=0.0),
        elastic=RandomElastic(
            sigma=[2.0, 3.0],
            magnitude=[0.0, 0.0] if still else [8.0, 20.0],
            scale=[1.0, 1.0] if still else [0.9, 1.1],
            shear=[0.0, 0.0] if still else [-0.1, 0.1],
        ),
    )
    effects = {
        "contrast": RandomContrast(p=0.5, gamma=[0.7, 1.5], headroom=[0.0, 0.0]),
        "gaussian_noise": RandomGaussianNoise(p=0.5, std=[0.0, 0.05]),
    }
    chain = Chain(effects={} if still else effects)
    return AnnotatedCrops(shape=shape, seed=1, on_object=0.7, jitter=0.2, view=view, effects=chain)


@pytest.fixture(scope="module")
def volumes():
    return AnnotatedVolumes.of([annotation(), annotation((30, 32, 36), seed=1)], TARGET, "clipped", RAYS)


@pytest.mark.parametrize("number", [0, 1])
def test_a_crop_shows_what_prediction_would_see(volumes, number):
    """The image on the grid of the network is that of prediction; labels are those of the nearest voxel."""
    given = [annotation(), annotation((30, 32, 36), seed=1)][number]
    scaling = Scaling.of(given.image.shape, given.spacing, given.diameter, TARGET, RAYS)
    shape = scaling.shape
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))[None]
    image, labels = volumes.crop(torch.tensor([number]), grid)
    whole = ResampledVolume(given.image, scaling, intensity_range(given.image, "clipped"))
    assert torch.allclose(image, whole.box((0, 0, 0), shape), atol=1e-5)
    nearest = [
        np.clip(np.floor((np.arange(n) + 0.5) * s / n).astype(int), 0, s - 1)
        for n, s in zip(shape, given.labels.shape, strict=True)
    ]
    assert np.array_equal(labels[0, 0].numpy(), given.labels[np.ix_(*nearest)])


def test_volumes_continue_as_mirror_images():
    position = torch.arange(-7.0, 9.0).view(1, 1, -1, 1, 1).expand(1, 3, -1, 1, 1)
    found = mirrored(position, torch.tensor([[4.0, 1.0, 7.0]]))[0, :, :, 0, 0]
    line = np.arange(7.0)
    expected = np.pad(line[:4], 9, mode="reflect")[2:18]
    assert found[0].tolist() == expected.tolist()
    assert not found[1].any()
    assert found[2].tolist() == np.pad(line, 9, mode="reflect")[2:18].tolist()


def test_a_still_crop_is_the_volume_around_an_object(volumes):
    """Every crop without chance in its view lies on the grid of the volume, shifted by a part of a voxel."""
    still = replace(crops(still=True), jitter=0.0, on_object=1.0)
    sample = still(volumes, torch.arange(8))
    middle = sample.labels[:, 0, 8, 8, 8]
    assert (middle > 0).all()
    assert len(set(middle.tolist())) == 2  # both objects are visited


@pytest.mark.long
def test_the_background_is_visited_everywhere_but_not_what_is_unknown(volumes):
    """Places lie on a lattice of about 16 network voxels; every one is the centre of a voxel of the background."""
    made = replace(crops(still=True), jitter=0.0, on_object=0.0)
    sample = made(volumes, torch.arange(40))
    assert (sample.labels[:, 0, 8, 8, 8] == 0).all()
    for number, given in enumerate([annotation(), annotation((30, 32, 36), seed=1)]):
        places = volumes.background[volumes.background[:, 0] == number, 1:].numpy()
        ratio = np.array(given.labels.shape) / volumes.shape[number].numpy()
        voxels = (places + 0.5) * ratio - 0.5
        assert voxels == pytest.approx(voxels.round(), abs=1e-3)
        assert (given.labels[tuple(voxels.round().astype(int).T)] == 0).all()
        share = (given.labels == 0).mean()
        assert len(places) == pytest.approx(share * volumes.shape[number].prod().item() / 16**3, rel=0.7)


def test_objects_are_known_by_their_centres(volumes):
    """Against scipy, in network voxels: the first volume has flat voxels."""
    for number, given in enumerate([annotation(), annotation((30, 32, 36), seed=1)]):
        found = volumes.objects[volumes.objects[:, 0] == number, 1:].numpy()
        centres = np.array(ndimage.center_of_mass(np.ones(given.labels.shape), given.labels, [1, 2]))
        ratio = np.array(given.labels.shape) / volumes.shape[number].numpy()
        assert found == pytest.approx((centres + 0.5) / ratio - 0.5, abs=1e-3)


@pytest.mark.long
def test_crops_are_near_their_place_and_as_often_near_objects_as_is_said(volumes, monkeypatch):
    """The place is at most a fifth of the crop from its centre, in both directions along every axis."""
    centres = []

    def crop(self, number, position):
        centres.append(position[:, :, 4, 5, 6] - 0.5)
        empty = torch.zeros(len(position), 1, 1, 1, 1)
        return empty, empty.int()

    monkeypatch.setattr(AnnotatedVolumes, "crop", crop)
    places = [torch.tensor([[0.0, at, at, at]]) for at in (100.0, 500.0)]
    far = replace(volumes, objects=places[0], background=places[1])
    replace(crops((8, 10, 12), still=True), on_object=0.7, jitter=0.2)(far, torch.arange(800))
    near = centres[0][:, 0] < 300
    assert near.float().mean().item() == pytest.approx(0.7, abs=0.06)
    away = centres[0] - torch.where(near[:, None], 100.0, 500.0)
    assert away.amax(0).tolist() == pytest.approx([1.6, 2.0, 2.4], rel=0.02)
    assert away.amin(0).tolist() == pytest.approx([-1.6, -2.0, -2.4], rel=0.02)
    assert away.mean(0).numpy() == pytest.approx(0.0, abs=0.2)


def test_a_crop_depends_on_seed_and_id_alone(volumes):
    made = crops()(volumes, torch.tensor([3, 7, 11]))
    alone = crops()(volumes, torch.tensor([7]))
    assert torch.equal(made.image[1:2], alone.image)
    assert torch.equal(made.labels[1:2], alone.labels)
    other = replace(crops(), seed=2)(volumes, torch.tensor([7]))
    assert not torch.equal(other.image, alone.image)
    assert 0.0 <= made.image.min() <= made.image.max() <= 1.0


def test_crops_are_spread_evenly():
    ids = torch.arange(4000)
    for share in (0.25, 0.5, 0.75, 1.0):
        chosen = is_crop(ids, share)
        assert chosen.float().mean() == share
        assert chosen.view(-1, 8).sum(1).unique().tolist() == [8 * share]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    import tifffile

    folder = tmp_path_factory.mktemp("annotated")
    given = annotation()
    tifffile.imwrite(folder / "image.tif", given.image)
    tifffile.imwrite(folder / "labels.tif", given.labels.astype(np.int16))
    volume = {"image": str(folder / "image.tif"), "labels": str(folder / "labels.tif"), "spacing": [2, 1, 1]}
    return FineTuningData(
        annotated=[volume],
        annotated_share=0.5,
        held_out=0.2,
        crops=crops(),
        start="pretrained",
        synthesizer=load_synthesizer("zero_shot", shape=(16, 16, 16), seed=1),
        batch_size=2,
        validation_samples=2,
    )


@pytest.mark.long
def test_targets_of_crops_by_brute_force(data):
    """Where something is annotated: the distance transform of scipy. Elsewhere -1."""
    batch = data.make(torch.arange(8), data.synthesizer)
    z, y, x = data.grid
    for sample in range(1, 8, 2):
        labels = batch.labels[sample, 0].numpy()
        expected = np.zeros(labels.shape)
        for label in np.unique(labels[labels > 0]):
            depth = ndimage.distance_transform_edt(labels == label)
            expected[labels == label] = (depth / depth.max())[labels == label]
        expected[labels == UNKNOWN] = -1
        found = batch.probability[sample, 0].numpy()
        if not (labels > 0).all():
            np.testing.assert_allclose(found, expected[::z, ::y, ::x], atol=1e-5)
    assert (batch.probability[1::2] == -1).any()
    assert (batch.probability[0::2] >= 0).all()  # synthetic samples are annotated everywhere
    assert (batch.distances[(batch.probability == -1).expand_as(batch.distances)] == 0).all()


@pytest.mark.long
def test_synthetic_samples_keep_their_bits(data):
    batch = data.make(torch.arange(4), data.synthesizer)
    synthetic = data.synthesizer(torch.tensor([0, 2]))
    assert torch.equal(batch.image[0::2], synthetic.image)
    assert torch.equal(batch.labels[0::2], synthetic.labels)
    validation = data.make(torch.arange(2), data.validation)
    assert torch.equal(validation.image, data.validation(torch.arange(2)).image)


@pytest.mark.long
def test_other_devices_mix_the_same_samples(data, monkeypatch):
    """A GPU makes both of every id and chooses; meta tensors follow that path without waiting for the host."""
    assert data.make(torch.empty(2, dtype=torch.int64, device="meta"), data.synthesizer).image.shape[0] == 2


@pytest.mark.long
def test_voxels_that_are_not_annotated_change_no_gradient(data):
    """Other labels there, as a user's file may have before it is masked, change neither loss nor gradient."""
    network, _ = loading.load_model()
    loss = StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4)
    batch = data.make(torch.tensor([1, 3]), data.synthesizer)
    ignored = batch.probability == -1
    assert ignored.any()
    assert (batch.probability > 0).any()
    gradients = []
    for distances in (batch.distances, torch.where(ignored, 17.0, batch.distances)):
        network.zero_grad()
        loss(network.logits(batch.image), batch.probability, distances).total.backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"annotated_share": 0.0}, "annotated_share must be above 0, to 1, got 0"),
        ({"start": None}, "set warm_start=pretrained"),
        ({"start": "nowhere"}, "there is no model folder nowhere"),
        ({"annotated": []}, "needs an annotated volume"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    given = {
        "annotated": [],
        "annotated_share": 0.5,
        "held_out": 0.2,
        "crops": crops(),
        "start": "pretrained",
    }
    with pytest.raises(ValueError, match=message):
        FineTuningData(
            **{**given, **settings},
            synthesizer=load_synthesizer("plain", shape=(16, 16, 16)),
            batch_size=1,
            validation_samples=1,
        )
