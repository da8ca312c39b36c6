"""What a run of ``train.py`` saw, for the tests: named in its command line, so that it runs in every process."""

import json
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Ids(Callback):
    """Writes the ids and the process of every step into ``folder``, a file per rank."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps({"step": trainer.global_step, "ids": batch.ids.tolist()}) + "\n")
