"""What a budget of minutes measures."""

from unittest.mock import Mock

import lightning as L
import pytest
import torch

from anystar_torch.training import budget
from anystar_torch.training.data import Batch
from tests.training.test_data import attach
from tests.training.test_data import data as data
from tests.training.test_data import synthesizer as synthesizer
from tests.training.test_prefetch import Recorded


class Captured(Recorded):
    """Streams that count how often work is captured."""

    captures = 0

    def capture(self, work):
        self.captures += 1
        return super().capture(work)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_validation_samples_are_captured_before_the_clock_of_a_validation(data, monkeypatch, device):
    """A training captures them once, but has a validation many times."""
    streams = Captured() if device == "cpu" else None
    monkeypatch.setattr(data, "make", lambda ids, synthesizer: Batch(ids, *[ids[:, None]] * 4))
    monkeypatch.setattr("anystar_torch.training.data.streams_of", lambda device: streams)
    attach(data, device)
    watch = budget.Stopwatch(0.1)
    module = Mock(spec=L.LightningModule, device=torch.device("cpu"))
    watch.on_train_start(Mock(spec=L.Trainer, datamodule=data), module)
    if streams is not None:
        assert streams.captures == 1
        assert [batch.ids.tolist() for batch in data.val_dataloader()] == [[0, 1], [2]]
        assert streams.captures == 1
