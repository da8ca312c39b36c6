"""Four samples, summarised: a change that alters what is generated must say so.

The numbers are statistics, not bits, so that they hold on every machine. If the change is intended,
``python -m tests.generator.test_golden`` writes them again, and the difference belongs in the change's description.
"""

import json

import pytest
import torch

from anystar_torch import load_synthesizer
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden.json"
NAMES = ("mix", "plain", "rand", "perlin", "zero_shot")


def summary(name):
    """Per sample: what the image and the labels are like."""
    sample = load_synthesizer(name, shape=(32, 32, 32), seed=1)(torch.arange(4))
    rows = []
    for image, labels in zip(sample.image, sample.labels, strict=True):
        volumes = torch.bincount(labels.flatten())[1:].float()
        low, middle, high = torch.quantile(image.flatten(), torch.tensor([0.1, 0.5, 0.9])).tolist()
        rows.append(
            {
                "mean": image.mean().item(),
                "std": image.std().item(),
                "q10": low,
                "q50": middle,
                "q90": high,
                "foreground": (labels > 0).float().mean().item(),
                "objects": len(volumes),
                "largest": volumes.max().item() if len(volumes) else 0.0,
            }
        )
    return rows


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_those_of_the_release(name):
    for got, stored in zip(summary(name), json.loads(GOLDEN.read_text())[name], strict=True):
        assert got == pytest.approx(stored, rel=5e-3, abs=2e-3)


if __name__ == "__main__":
    rounded = {
        name: [{key: round(value, 4) for key, value in row.items()} for row in summary(name)]
        for name in NAMES
    }
    GOLDEN.write_text(json.dumps(rounded, indent=1) + "\n")
