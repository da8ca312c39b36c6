"""Batches are a function of the step alone; targets belong to their labels."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch

from anystar_torch import load_synthesizer
from anystar_torch.geometry import targets
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.data import StepBatches, SynthesisData
from anystar_torch.training.module import Training
from tests.training.test_prefetch import Recorded


@pytest.fixture(scope="module")
def synthesizer():
    return load_synthesizer("plain", shape=(16, 16, 16), seed=1)


@pytest.fixture
def data(synthesizer):
    return SynthesisData(
        synthesizer=synthesizer,
        rays=8,
        anisotropy=(1.0, 1.0, 1.0),
        grid=(2, 2, 2),
        batch_size=2,
        validation_samples=3,
        normalisation="anystar",
    )


def attach(data, device="meta", **state):
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(
        strategy=strategy,
        **{"global_step": 0, "max_steps": 4, "global_rank": 0, "world_size": 1, "training": True, **state},
    )
    return data


def ids_of(loader):
    return [batch.tolist() for batch in loader]


def test_steps_walk_through_one_sequence(data):
    assert ids_of(attach(data).train_dataloader()) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_resumed_run_goes_on_where_it_was(data):
    loader = attach(data, global_step=3).train_dataloader()
    assert ids_of(loader) == [[6, 7]]
    assert len(loader) == 4


def test_ranks_share_each_step():
    alone = list(StepBatches(8, start=0, stop=3))
    shared = [list(StepBatches(2, start=0, stop=3, rank=rank, ranks=4)) for rank in range(4)]
    assert [[i for rank in range(4) for i in shared[rank][step]] for step in range(3)] == alone


def test_validation_ids_are_fixed_and_shared_out(data):
    assert ids_of(attach(data).val_dataloader()) == [[0, 1], [2]]
    assert ids_of(attach(data, global_rank=1, world_size=2).val_dataloader()) == [[1]]


def test_no_rank_is_without_a_validation_batch(data):
    """It would not take part in what the ranks do together at the end of a validation."""
    shares = [attach(data, global_rank=rank, world_size=5).val_dataloader() for rank in range(5)]
    assert [ids_of(share) for share in shares] == [[[0]], [[1]], [[2]], [[3]], [[4]]]


@pytest.mark.long
def test_targets_belong_to_the_labels(data):
    batch = attach(data).on_after_batch_transfer(torch.tensor([5, 7]), 0)
    assert batch.image.shape == batch.labels.shape == (2, 1, 16, 16, 16)
    assert torch.equal(batch.distances, targets.star_distances(batch.labels, data.rays, (2, 2, 2)))
    assert torch.equal(batch.probability, targets.object_probability(batch.labels, (2, 2, 2)))
    assert torch.equal(batch.probability > 0, batch.labels[..., ::2, ::2, ::2] > 0)
    assert data.waited_seconds > 0


@pytest.mark.long
@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_a_cpu_prefetches_the_same_batches(data, steps_per_call):
    """Bit for bit with the same number of threads; Fourier transforms round differently with more threads."""
    data.steps_per_call = steps_per_call
    loader = attach(data, device="cpu", max_steps=3).train_dataloader()
    assert len(loader) == 3
    made = list(loader)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for first, batch in zip((0, 2, 4), made, strict=True):
            assert data.on_after_batch_transfer(batch, 0) is batch
            alone = data.on_after_batch_transfer(torch.tensor([first, first + 1]), 0)
            assert all(torch.equal(one, other) for one, other in zip(batch, alone, strict=True))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.long
def test_training_and_validation_ids_are_different_samples(data):
    """Sample 5 of the training set and sample 5 of the validation set share nothing but the number."""
    ids = torch.tensor([5])
    training = attach(data).on_after_batch_transfer(ids, 0)
    validation = attach(data, training=False).on_after_batch_transfer(ids, 0)
    assert not torch.equal(training.image, validation.image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "at least 1, got 0"),
        ({"batch_size": 2, "samples_per_call": 3}, "multiple of batch_size, 2, got 3"),
        ({"batch_size": 2, "samples_per_call": 0}, "multiple of batch_size, 2, got 0"),
    ],
)
def test_nonsense_is_refused(synthesizer, settings, message):
    with pytest.raises(ValueError, match=message):
        SynthesisData(
            synthesizer=synthesizer,
            rays=8,
            anisotropy=(1.0, 1.0, 1.0),
            grid=(1, 1, 1),
            validation_samples=1,
            normalisation="anystar",
            **settings,
        )


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_validation_on_a_stream_is_the_validation_without(data, monkeypatch):
    """Through Lightning's loop, in inference mode; the last call is filled up and its filling left out."""
    torch.manual_seed(0)
    network = StarDist(
        rays=8, grid=(2, 2, 2), features=8, backbone=UNetBackbone(filters=4, depth=1, batch_norm=True)
    )
    training = Training(
        network=network,
        loss=StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4),
        optimizer=torch.optim.Adam,
        schedule=lambda optimizer: None,
        start=None,
        channels_last=True,
    )
    found, sizes = [], []
    for streams in (None, Recorded()):
        monkeypatch.setattr("anystar_torch.training.data.streams_of", lambda device, streams=streams: streams)
        trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        found += trainer.validate(training, datamodule=data, verbose=False)
        sizes.append(trainer.num_val_batches)
    assert sizes == [[2], [2]]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert data.waited_seconds == 0.0
