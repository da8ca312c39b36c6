"""Training on a CUDA device: graphs against eager calls, streams, and steps without a stall."""

from contextlib import nullcontext

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback

from anystar_torch import load_synthesizer
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.system.device import refusing_synchronisation
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.prefetch import Repeated, StreamPrefetch
from anystar_torch.training.readback import HostCopy
from anystar_torch.training.streams import CudaStreams
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),  # of Lightning's own making
]
SIZE = 2


def source(name, shape=(32, 32, 32)):
    return SynthesisData(
        synthesizer=load_synthesizer(name, shape=shape, seed=1),
        rays=32,
        anisotropy=(1.0, 1.0, 1.0),
        grid=(2, 2, 2),
        batch_size=SIZE,
        validation_samples=4,
        normalisation="anystar",
    )


def steps(count, size=SIZE):
    return [list(range(first, first + size)) for first in range(0, count * size, size)]


def prefetch(data, said, waited=lambda seconds: None, count=8, calls=1):
    streams = CudaStreams(torch.device("cuda", torch.cuda.current_device()))
    repeated = Repeated(lambda ids: data.make(ids, data.synthesizer), SIZE * calls, streams, said.append)
    return StreamPrefetch(steps(count), repeated, streams, waited, calls)


def busy(seconds=0.02):
    """Work on the current stream that takes about this long."""
    torch.cuda._sleep(int(seconds * 1e9))


def same(batch, other):
    return all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))


@pytest.mark.parametrize("name", ["mix", "zero_shot", "plain", "rand", "perlin"])
def test_batches_from_the_graph_are_the_eager_ones(name):
    """Bit for bit, and while the training stream is slow in reading them."""
    data, said, kept = source(name), [], []
    for batch in prefetch(data, said):
        busy()
        kept.append([tensor.clone() for tensor in batch])
    assert said == [], "the samples were not captured"
    for ids, batch in zip(steps(8), kept, strict=True):
        eager = data.make(torch.tensor(ids, device="cuda"), data.synthesizer)
        assert same(eager, batch), ids


def test_samples_of_several_steps_in_one_call():
    """The last call is not full."""
    data, said = source("mix"), []
    several = [[t.clone() for t in batch] for batch in prefetch(data, said, count=5, calls=2)]
    single = [[t.clone() for t in batch] for batch in prefetch(data, said, count=5)]
    assert said == []
    for one, other in zip(several, single, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


def test_a_batch_stays_whole_until_its_step_has_run():
    """With a slow training stream, the host does not refill buffers that the stream has yet to read."""
    data, said = source("plain"), []
    sums = []
    for batch in prefetch(data, said, count=12):
        busy(0.05)
        sums.append(torch.stack([batch.image.sum(), batch.distances.sum(), batch.ids.float().sum()]))
        busy(0.05)
        sums.append(torch.stack([batch.image.sum(), batch.distances.sum(), batch.ids.float().sum()]))
    for number, (early, late) in enumerate(zip(sums[::2], sums[1::2], strict=True)):
        assert torch.equal(early, late), number
        assert late[2].item() == 4 * number + 1


def test_two_graphs_of_one_device_do_not_disturb_each_other():
    """Training and validation take turns and share the memory of their graphs."""
    data = source("mix")
    streams = CudaStreams(torch.device("cuda", torch.cuda.current_device()))
    loaders = []
    for synthesizer in (data.synthesizer, data.validation):
        repeated = Repeated(lambda ids, s=synthesizer: data.make(ids, s), SIZE, streams, pytest.fail)
        loaders.append(StreamPrefetch(steps(4), repeated, streams, lambda seconds: None))
    training, validation = iter(loaders[0]), iter(loaders[1])
    for ids in steps(4):
        first = [tensor.clone() for tensor in next(training)]
        with torch.inference_mode():
            second = [tensor.clone() for tensor in next(validation)]
        where = torch.tensor(ids, device="cuda")
        assert same(data.make(where, data.synthesizer), first)
        assert same(data.make(where, data.validation), second)


def test_the_wait_for_samples_is_measured_on_the_device():
    data, said, waits = source("plain"), [], []
    for _ in prefetch(data, said, waits.append, count=20):
        pass  # no training at all: everything is waiting
    torch.cuda.synchronize()
    assert len(waits) <= 20
    assert sum(waits) > 0
    idle = sum(waits)
    waits.clear()
    for _ in prefetch(data, said, waits.append, count=20):
        busy(0.1)  # samples are ready long before
        torch.cuda.synchronize()
    assert sum(waits[2:]) < max(idle, 0.01)


def test_what_waits_for_the_host_is_not_captured():
    streams, said = CudaStreams(torch.device("cuda", torch.cuda.current_device())), []

    def make(ids):
        return (ids * int(ids.max().item()),)  # as an adapted MONAI effect reads its seeds

    loader = StreamPrefetch(
        steps(3), Repeated(make, SIZE, streams, said.append), streams, lambda seconds: None
    )
    assert [batch[0].tolist() for batch in loader] == [[0, 1], [6, 9], [20, 25]]
    assert len(said) == 1
    assert "without a CUDA graph" in said[0]
    assert (torch.ones(2, device="cuda") + 1).sum().item() == 4, "the device is in order"


def test_a_host_copy_waits_for_what_came_before_it():
    value = torch.zeros(3, device="cuda")
    busy(0.05)
    value.add_(2.0)
    copy = HostCopy(value)
    value.add_(1.0)
    assert copy.value().tolist() == [2.0, 2.0, 2.0]
    assert copy.value().device.type == "cpu"


class Errors(Callback):
    """Raises where a step waits for the device, once the first steps have set everything up."""

    def __init__(self, after):
        self.after = after

    def on_train_start(self, trainer, pl_module):
        loop = trainer.fit_loop.epoch_loop
        advance = loop.advance

        def watched(fetcher):
            watching = trainer.global_step >= self.after
            with refusing_synchronisation() if watching else nullcontext():
                advance(fetcher)

        loop.advance = watched


@pytest.mark.parametrize("experiment", ["mix", "zero_shot"])
def test_twenty_steps_with_every_callback_and_no_stall(experiment, tmp_path):
    """Validation and checkpoints may wait, and do so outside of the watched steps."""
    register_resolvers()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(
            "train",
            [
                f"+experiment={experiment}",
                "hardware=gpu",
                "model=small",
                "shape=[32,32,32]",
                f"run_folder={tmp_path}",
                "trainer.log_every_n_steps=3",
                "callbacks.samples.samples=4",
                "callbacks.throughput.every_n_steps=3",
                "callbacks.stop_on_non_finite.every_n_steps=4",
                "callbacks.scores.samples=2",
                "callbacks.scores.pictures=0",
                "data.validation_samples=3",
            ],
        )
    training, data = instantiate(config.training), instantiate(config.data)
    watch = Errors(after=4)
    trainer = L.Trainer(
        accelerator="gpu",
        devices=1,
        precision=config.trainer.precision,
        benchmark=True,
        max_steps=21,
        val_check_interval=10,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[*instantiate(config.callbacks).values(), watch],
        logger=list(instantiate(config.logger).values()),
        default_root_dir=tmp_path,
        log_every_n_steps=3,
        enable_model_summary=False,
    )
    save = trainer.save_checkpoint

    def saving(*arguments, **settings):  # the last step writes a checkpoint, and waits
        torch.cuda.set_sync_debug_mode("default")
        save(*arguments, **settings)

    trainer.save_checkpoint = saving
    trainer.fit(training, datamodule=data)
    assert trainer.global_step == 21
    rows = (tmp_path / "csv").rglob("metrics.csv")
    text = "".join(path.read_text() for path in rows)
    assert "synthesis %" in text
    assert "val_loss" in text
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "samples.png").is_file()
    assert {p.device.type for p in training.network.parameters()} == {"cpu"}, "Lightning brings it back"
