"""Who judges a head? By its problem type."""

from collections.abc import Callable, Mapping, Sequence

from training.data.rows import Row
from training.evaluation.classifier import judge_single_label
from training.evaluation.multi_label import judge_multi_label
from training.evaluation.regression import judge_regression
from training.evaluation.trained import Judged, TrainedHead
from training.recipe.heads import ProblemType

JUDGES: dict[ProblemType, Callable[[TrainedHead, Sequence[Row], Mapping[str, object]], Judged]] = {
    "single_label": judge_single_label,
    "multi_label": judge_multi_label,
    "regression": judge_regression,
}
