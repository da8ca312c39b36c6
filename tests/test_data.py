"""Batches are a function of the step alone; targets belong to their labels."""

from types import SimpleNamespace

import pytest
import torch

from anystar_torch import load_synthesizer, targets
from anystar_torch.data import StepBatches, SynthesisData


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
    shared = [list(StepBatches(2, start=0, stop=3, rank=rank, world=4)) for rank in range(4)]
    assert [[i for rank in range(4) for i in shared[rank][step]] for step in range(3)] == alone


def test_validation_ids_are_fixed_and_shared_out(data):
    assert ids_of(attach(data).val_dataloader()) == [[0, 1], [2]]
    assert ids_of(attach(data, global_rank=1, world_size=2).val_dataloader()) == [[1]]


def test_no_rank_is_without_a_validation_batch(data):
    """It would not take part in what the ranks do together at the end of a validation."""
    shares = [attach(data, global_rank=rank, world_size=5).val_dataloader() for rank in range(5)]
    assert [ids_of(share) for share in shares] == [[[0]], [[1]], [[2]], [[3]], [[4]]]


def test_targets_belong_to_the_labels(data):
    batch = attach(data).on_after_batch_transfer(torch.tensor([5, 7]), 0)
    assert batch.image.shape == batch.labels.shape == (2, 1, 16, 16, 16)
    assert torch.equal(batch.distances, targets.star_distances(batch.labels, data.rays, (2, 2, 2)))
    assert torch.equal(batch.probability, targets.object_probability(batch.labels, (2, 2, 2)))
    assert torch.equal(batch.probability > 0, batch.labels[..., ::2, ::2, ::2] > 0)
    assert data.waited_seconds > 0


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_a_cpu_makes_the_same_batches_ahead(data, steps_per_call):
    """To the bit on as many threads; transforms to k-space round differently on more."""
    data.steps_per_call = steps_per_call
    ahead = attach(data, device="cpu", max_steps=3).train_dataloader()
    assert len(ahead) == 3
    made = list(ahead)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for first, batch in zip((0, 2, 4), made, strict=True):
            assert data.on_after_batch_transfer(batch, 0) is batch
            alone = data.on_after_batch_transfer(torch.tensor([first, first + 1]), 0)
            assert all(torch.equal(one, other) for one, other in zip(batch, alone, strict=True))
    finally:
        torch.set_num_threads(threads)


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
            synthesizer=synthesizer, rays=8, anisotropy=(1.0, 1.0, 1.0),
            grid=(1, 1, 1), validation_samples=1, normalisation="anystar", **settings,
        )  # fmt: skip
