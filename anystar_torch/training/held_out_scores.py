"""Scores on the held-out part of an annotation at every validation of a fine-tuning."""

from typing import Any

import lightning as L

from anystar_torch.evaluation.matching import IOU_THRESHOLDS
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.training.annotation_scores import score_annotations
from anystar_torch.training.finetuning_data import FineTuningData
from anystar_torch.training.thresholds import PROB_THRESHOLDS, best
from anystar_torch.training.validation import InstanceScores


class HeldOutScores(InstanceScores):
    """Log F1 and AP on the held-out part, beside the scores of :class:`InstanceScores`.

    ``held_out_f1/0.5``, ``held_out_ap/0.5`` and so on are means over the volumes at the probability threshold with
    the highest mean AP. ``held_out_ap`` is that mean. ``stage_score`` determines the best checkpoint. It is
    ``held_out_ap``, or the step where nothing is held out: the last weights are then the best ones.

    Arguments are those of :class:`InstanceScores`.
    """

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the synthetic samples and the held-out part, and log the scores."""
        super().on_validation_epoch_end(trainer, pl_module)
        if trainer.sanity_checking:
            return
        data: FineTuningData = trainer.datamodule  # type: ignore[attr-defined]
        figures = {"stage_score": float(trainer.global_step)}
        if data.division.held_out:
            network: Any = pl_module.network
            model = AnyStar(network, data.config)
            device = str(next(network.parameters()).device)
            thresholds = [data.start_config.nms_thresh]
            choices = score_annotations(model, data.division.held_out, PROB_THRESHOLDS, thresholds, device)
            choice = best(choices)
            for thresh in IOU_THRESHOLDS:
                figures[f"held_out_f1/{thresh:g}"] = choice.scores[thresh].f1
                figures[f"held_out_ap/{thresh:g}"] = choice.scores[thresh].accuracy
            figures |= {"held_out_ap": choice.accuracy, "stage_score": choice.accuracy}
        pl_module.log_dict(figures, sync_dist=True)
