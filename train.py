"""Train a network: ``python train.py +experiment=mix [group=choice] [key=value]``.

Hydra composes ``configs/train.yaml``, everything named there is instantiated, Lightning fits, and a report says how
good the network is, on synthetic samples and on a real volume, and where it lies.
"""

import logging
import sys
import warnings

import hydra
import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig

from anystar_torch.report import last_checkpoint
from anystar_torch.resolvers import register_resolvers

register_resolvers()
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hardware tips and advertisements
warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")  # of its own making


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """Fits what ``config`` describes; exits with 1 if the network learned nothing, with 130 if it was stopped."""
    L.seed_everything(config.seed, verbose=False)
    checkpoint = last_checkpoint(config.resume)
    report = instantiate(config.report)
    training = instantiate(config.training)
    data = instantiate(config.data)
    trainer = instantiate(
        config.trainer,
        callbacks=list(instantiate(config.callbacks).values()),
        logger=list(instantiate(config.logger).values()),
    )
    trainer.fit(training, data, ckpt_path=checkpoint)
    sys.exit(report(trainer, training, data))


if __name__ == "__main__":
    main()
