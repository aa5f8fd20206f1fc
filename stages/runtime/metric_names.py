"""What metrics are called, which of them are better when higher, and which are shares or amounts."""

from __future__ import annotations

HIGHER_IS_BETTER = frozenset(
    {"roc_auc", "pr_auc", "accuracy", "f1", "precision", "recall", "mcc", "precision_top10", "lift_top10", "r2"}
)
TITLES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "accuracy": "Accuracy",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "mcc": "MCC",
    "brier": "Brier score",
    "log_loss": "Log-loss",
    "ece": "Calibration error (ECE)",
    "precision_top10": "Precision in the top 10 %",
    "lift_top10": "Lift in the top 10 %",
    "rmse": "RMSE",
    "mae": "MAE",
    "median_ape": "Median absolute percentage error",
    "mape": "Mean absolute percentage error",
    "smape": "Symmetric MAPE",
    "r2": "R²",
    "interval_coverage": "Interval coverage",
    "interval_width": "Mean interval width",
}
MAIN = {  # what metrics.json holds, so that `dvc exp show` and `dvc metrics diff` fit a screen
    "classification": ("roc_auc", "pr_auc", "brier", "f1", "precision", "recall"),
    "regression": ("mae", "rmse", "median_ape", "r2", "interval_coverage", "interval_width"),
}
SHARES = {"median_ape", "mape", "smape", "interval_coverage"}
AMOUNTS = {"rmse", "mae", "interval_width"}


def main_metrics(task: str, primary: str) -> list[str]:
    """The few metrics by which models of a task are compared at a glance, the primary one first."""
    return [primary, *(name for name in MAIN[task] if name != primary)][: len(MAIN[task])]
