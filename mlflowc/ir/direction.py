"""Whether a metric is better when it is lower: declared (`minimize`, `maximize`), else known by its name;
a duration is better when it is shorter."""

from __future__ import annotations

import re

from mlflowc.ir.model import Column

OPS = ("minimize", "maximize")

# Words of names (`val_loss`, `test.rmse`); a name with words of both kinds says nothing.
_LOWER = frozenset(
    (
        "loss", "logloss", "crossentropy", "nll", "error", "errors", "err", "mse", "rmse", "mae", "mape",
        "smape", "rmsle", "wer", "cer", "ter", "perplexity", "ppl", "brier", "ece", "regret", "fpr", "fnr",
        "divergence", "fid", "latency", "duration", "seconds",
    )
)  # fmt: skip
_HIGHER = frozenset(
    (
        "accuracy", "acc", "auc", "auroc", "auprc", "roc", "ap", "map", "f1", "f2", "fbeta", "precision",
        "recall", "sensitivity", "specificity", "tpr", "tnr", "r2", "kappa", "mcc", "iou", "miou", "dice",
        "jaccard", "bleu", "rouge", "meteor", "chrf", "ndcg", "mrr", "psnr", "ssim", "throughput",
    )
)  # fmt: skip


def lower_is_better(field: Column) -> bool | None:
    """True where less of it is better, False where more is, None where that is not known."""
    for constraint in field.constraints:
        if constraint.op in OPS:
            return constraint.op == "minimize"
    if field.type.name not in ("int", "float", "any", "duration"):
        return None
    known = by_name(field.name)
    return True if known is None and field.type.name == "duration" else known


def by_name(name: str) -> bool | None:
    """The same for a metric that is known by its name alone, such as `test.val_loss`."""
    words = set(re.findall(r"[a-z]+\d*", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    lower, higher = bool(words & _LOWER), bool(words & _HIGHER)
    return None if lower == higher else lower
