"""A sample is one thing: the same in any batch, in range, every label an object, made on the device."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from skimage.measure import label

from anystar_torch.arrays import Sample
from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.synthesizer import Synthesizer, relabelled
from anystar_torch.geometry.components import connected_components
from anystar_torch.kernels.implementations import Implementation, forced
from anystar_torch.random.source import Source
from tests.residency import Residency

IDS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1 << 40, (1 << 62) - 1, 1 << 62])


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    return load_synthesizer("mix", shape=(32, 32, 32), seed=3)


@pytest.fixture(scope="module")
def batch(synth: Synthesizer) -> Sample:
    return synth(IDS)


@pytest.mark.long
def test_samples_are_what_training_expects(batch: Sample) -> None:
    assert batch.image.shape == batch.labels.shape == (16, 1, 32, 32, 32)
    assert batch.image.dtype == torch.float32
    assert batch.labels.dtype == torch.int32
    assert batch.image.isfinite().all()
    assert torch.equal(batch.image.amin((1, 2, 3, 4)), torch.zeros(16))
    assert batch.image.amax() <= 1.0
    assert (batch.image.std((1, 2, 3, 4)) > 0.0).all()
    assert 0.02 < (batch.labels > 0).float().mean() < 0.5


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_sample_has_the_same_bits_in_any_batch(synth: Synthesizer, batch: Sample, size: int) -> None:
    for first in range(0, 16, size):
        part = synth(IDS[first : first + size])
        assert torch.equal(part.image, batch.image[first : first + size])
        assert torch.equal(part.labels, batch.labels[first : first + size])


@pytest.mark.long
def test_a_sample_has_the_same_bits_in_any_company_and_at_odd_sizes() -> None:
    synth = load_synthesizer("mix", shape=(17, 20, 13), seed=5)
    whole, turned = synth(IDS[:7]), synth(IDS[:7].flip(0))
    assert torch.equal(whole.image, turned.image.flip(0))
    assert torch.equal(whole.labels, turned.labels.flip(0))


@pytest.mark.long
def test_seed_and_split_change_the_sample(synth: Synthesizer, batch: Sample) -> None:
    other = load_synthesizer("mix", shape=(32, 32, 32), seed=4)
    for changed in (other, synth.on("validation")):
        assert not torch.equal(changed(IDS[:1]).labels, batch.labels[:1])
    assert torch.equal(synth.on("train")(IDS[:1]).image, batch.image[:1])


@pytest.mark.long
def test_labels_count_from_one_and_every_label_is_one_piece(batch: Sample) -> None:
    for labels in batch.labels:
        assert label(labels[0].numpy(), connectivity=3).max() == labels.max()
        assert torch.bincount(labels.flatten())[1:].min() >= 8
        present = labels.unique()
        assert torch.equal(present, torch.arange(len(present), dtype=torch.int32))


@pytest.mark.long
@pytest.mark.parametrize("name", ["mix", "zero_shot"])
def test_synthesis_stays_on_the_device_and_launches_do_not_grow(name: str) -> None:
    synth = load_synthesizer(name, shape=(32, 32, 32), seed=3)
    counts = []
    for size in (2, 16):
        ids = torch.empty(size, dtype=torch.int64, device="meta")
        synth(ids)  # the first call of a run uploads the constants of the table of draws
        with Residency("meta") as mode:
            sample = synth(ids)
        assert sample.image.shape == (size, 1, 32, 32, 32)
        counts.append(mode.count)
    assert counts[0] == counts[1]


@pytest.mark.long
def test_the_table_holds_what_each_draw_would_have_drawn(synth: Synthesizer) -> None:
    """A synthesizer whose draws hash one by one makes the same samples, bit for bit."""
    one_by_one = synth.render(Source.of(IDS[:4], seed=synth.seed, split=synth.split))
    assert torch.equal(one_by_one.image, synth(IDS[:4]).image)
    assert torch.equal(one_by_one.labels, synth(IDS[:4]).labels)


def test_draws_can_be_read(synth: Synthesizer) -> None:
    draws = synth.draw(IDS[:4]).as_dict()
    factors = draws["/placement/zoom/factor"]
    assert len(factors) == 4
    assert all(0.4 < factor < 1.4 for factor in factors)


@pytest.mark.long
def test_stored_draws_are_rendered_again_and_can_be_changed(
    synth: Synthesizer, batch: Sample, tmp_path: Path
) -> None:
    torch.save(synth.draw(IDS[:3]), tmp_path / "draws.pt")
    draws = torch.load(tmp_path / "draws.pt", weights_only=False)  # written a line above
    again = synth.render(draws)
    assert torch.equal(again.image, batch.image[:3])
    assert torch.equal(again.labels, batch.labels[:3])
    place = draws.slots["/placement/zoom/factor"][1] * len(IDS[:3])
    numbers = draws.numbers.clone()
    numbers[place] = 1.4  # the first sample's
    other = synth.render(replace(draws, numbers=numbers))
    changed = [not torch.equal(a, b) for a, b in zip(other.labels, again.labels, strict=True)]
    assert changed == [True, False, False]


def test_pieces_are_labelled_again_only_where_effects_cut_them() -> None:
    """Against labelling all of them."""
    labels = connected_components(torch.randint(0, 3, (4, 1, 9, 9, 9), dtype=torch.int32), 4)
    cut = labels.clone()
    cut[1, :, 4] = 0
    cut[3] = 0
    assert torch.equal(relabelled(labels, cut, 4), connected_components(cut, 4))
    assert relabelled(labels, labels.clone(), 4) is labels


@pytest.mark.long
def test_an_effect_more_changes_no_other_draw(synth: Synthesizer) -> None:
    plain = load_synthesizer("mix", shape=(32, 32, 32), seed=3, overrides=["~effects.effects.bias_field"])
    assert torch.equal(plain(IDS[:4]).labels, synth(IDS[:4]).labels)


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "rand", "perlin"])
def test_every_background_makes_samples(name: str) -> None:
    sample = load_synthesizer(name, shape=(24, 24, 24), seed=0)(IDS[:3])
    assert sample.image.isfinite().all()
    assert sample.image.std() > 0.0


@pytest.mark.long
def test_a_plain_background_is_darker_than_the_objects() -> None:
    sample = load_synthesizer("plain", shape=(32, 32, 32), seed=0)(torch.arange(12))
    for image, labels in zip(sample.image, sample.labels, strict=True):
        if (labels > 0).sum() > 1000:
            assert image[labels > 0].median() >= image[labels == 0].median()


@pytest.mark.long
@pytest.mark.parametrize("name", ["mix", "zero_shot"])
def test_rendering_does_not_change_the_draws(name: str) -> None:
    """Draws of a batch in which every sample has an effect are views of the table."""
    synth = load_synthesizer(name, shape=(16, 16, 16))
    for number in range(12):
        draws = synth.draw(torch.tensor([number]))
        before = draws.numbers.clone()
        synth.render(draws)
        assert torch.equal(draws.numbers, before), number


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "implementation"), [("mix", "native"), ("zero_shot", "native"), ("zero_shot", "torch")]
)
def test_the_default_number_type_of_the_program_changes_nothing(
    name: str, implementation: Implementation
) -> None:
    synth = load_synthesizer(name, shape=(16, 17, 18), seed=4)
    with forced(implementation):
        expected = synth(IDS[:3])
        torch.set_default_dtype(torch.float64)
        try:
            found = load_synthesizer(name, shape=(16, 17, 18), seed=4)(IDS[:3])
        finally:
            torch.set_default_dtype(torch.float32)
    assert found.image.dtype == torch.float32
    assert torch.equal(found.image, expected.image)
    assert torch.equal(found.labels, expected.labels)


@pytest.mark.long
@pytest.mark.parametrize(("name", "implementation"), [("mix", "native"), ("zero_shot", "torch")])
def test_a_batch_without_samples(name: str, implementation: Implementation) -> None:
    with forced(implementation):
        sample = load_synthesizer(name, shape=(16, 17, 18))(IDS[:0])
    assert sample.image.shape == sample.labels.shape == (0, 1, 16, 17, 18)


@pytest.mark.long
def test_a_constant_of_the_table_is_kept_for_one_size_of_batch_only() -> None:
    """It is as large as the draws; programs that draw batches of many sizes would keep all of them."""
    slots = load_synthesizer("mix", shape=(16, 16, 16)).slots
    numbers = sum(slot.size for slot, _ in slots.places.values())
    for size in (5, 7, 7, 3, 5):
        ids = torch.arange(size)
        alone = [slots.draw(ids[i : i + 1]).as_dict() for i in range(size)]
        together = slots.draw(ids).as_dict()
        for name, drawn in together.items():
            assert drawn == [one[name][0] for one in alone]
    assert [order.shape for _, order in slots._orders.values()] == [(5 * numbers,)]
