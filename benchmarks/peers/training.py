"""Training steps of this package: the recipe's network, loss, optimiser and average on synthesised batches.

Settings: ``network`` (of configs/model), ``batch``, ``size``, ``precision``, ``threads``, ``repeats``. Answers the
seconds of every step after a first one, of the step and of synthesis, peak memory in GB, and the number of weights.
"""

import resource
import time

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from serve import case, serve
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.system.allocator import keep_freed_memory

settings = case()
keep_freed_memory()  # as train.py does
torch.set_num_threads(settings["threads"])
size = settings["size"]
overrides = [
    f"model={settings['network']}",
    f"shape=[{size},{size},{size}]",
    f"batch_size={settings['batch']}",
]
register_resolvers()
with initialize_config_dir(str(config_folder()), version_base="1.3"):
    config = compose("train", [*overrides, "+experiment=mix", "run_folder=unused"])
torch.manual_seed(0)
training, data = instantiate(config.training), instantiate(config.data)
optimizer = training.optimizer(training.network.parameters())
average = AveragedModel(training.network, multi_avg_fn=get_ema_multi_avg_fn(config.callbacks.average.decay))


def answer(request):
    """The figures of all steps."""
    synthesis, walls, cpus = [], [], []
    for step in range(1 + settings["repeats"]):
        began = time.perf_counter()
        batch = data.make(torch.arange(settings["batch"]) + step * settings["batch"], data.synthesizer)
        synthesis.append(time.perf_counter() - began)
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bf16-mixed"):
            loss = training.training_losses(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(training.network)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    weights = training.network.state_dict().items()
    return {
        "walls": walls[1:],
        "cpus": cpus[1:],
        "synthesis": synthesis[1:],
        "weights": sum(tensor.numel() for name, tensor in weights if "num_batches" not in name),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "software": f"torch {torch.__version__}",
    }


serve(answer)
