"""What does the teacher of a run answer to the texts of train?

A teacher of vectors is any encoder, or a bundle; one of logits a bundle that classifies under the same labels. It reads
each text once, before the training, and is gone then: its answers stay in memory, in float32. N different texts,
E values of an answer.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.store import CURRENT, bundle_dir, current
from app.bundle.verify import verify
from training.data.rows import Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.export.served import graph_outputs
from training.modeling import Model
from training.modeling.encoder import load_encoder
from training.objectives.teacher import Teacher
from training.progress import Progress
from training.recipe.encoder import EncoderTable
from training.recipe.teacher import TeacherTable

Floats = NDArray[np.float32]
MANIFEST = "manifest.json"


def make_teacher(
    table: TeacherTable | None, splits: Splits, device: torch.device, progress: Progress
) -> Teacher | None:
    """The teacher of a recipe with its answers to every text of train; None for a recipe without one.

    Args:
        device: where an encoder runs; a bundle's graph runs on the CPU.

    Raises:
        TrainingError: the source is not there, or answers otherwise than the recipe needs it.
        BundleError: its bundle is not sound.
    """
    if table is None:
        return None
    texts = list(dict.fromkeys(text for row in splits.train for text in row.texts))
    if folder := _bundle_folder(table.source):
        digest, answers_NE = _of_bundle(folder, table, splits.labels, texts, progress)
    elif table.learns == "logits":
        raise TrainingError(
            f"teacher.source: {table.source} is no bundle; logits are those of a classifier trained here, so name its "
            "folder in models/store"
        )
    else:
        digest, answers_NE = _of_encoder(table.source, texts, device, progress)
    return Teacher(table, digest, torch.from_numpy(answers_NE), {text: place for place, text in enumerate(texts)})


def _bundle_folder(source: str) -> Path | None:
    """The folder of a bundle's version; of a model in the store, its current one."""
    folder = Path(source).expanduser()
    if (folder / CURRENT).is_file():
        return bundle_dir(folder.parent, folder.name, current(folder.parent, folder.name))
    return folder if (folder / MANIFEST).is_file() else None


def _of_bundle(
    folder: Path, table: TeacherTable, labels: Sequence[str], texts: Sequence[str], progress: Progress
) -> tuple[str, Floats]:
    bundle = verify(folder)
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    if table.learns == "vectors":
        return digest, graph_outputs(bundle, texts, progress, "learning from")[EMBEDDING_OUTPUT]
    head = bundle.manifest.heads[0]
    if not isinstance(head, ClassifyHead) or head.problem_type != "single_label":
        raise TrainingError(f'teacher.source: {folder} gives no logits of one label a text; take learns = "vectors"')
    if strange := sorted(set(head.labels) ^ set(labels)):
        raise TrainingError(
            f"teacher.source: {folder} has {len(head.labels)} labels and the data {len(labels)}, and they are not the "
            f'same: "{strange[0]}" is in one alone; take learns = "vectors"'
        )
    logits_NC = graph_outputs(bundle, texts, progress, "learning from")[head.output]
    return digest, logits_NC[:, [head.labels.index(label) for label in labels]]


def _of_encoder(source: str, texts: Sequence[str], device: torch.device, progress: Progress) -> tuple[str, Floats]:
    try:
        with progress.step("loading the teacher"):
            loaded = load_encoder(EncoderTable(source=source))
    except TrainingError as error:
        raise TrainingError(f"teacher.source: {str(error).removeprefix('encoder.source: ')}") from error
    digest = hashlib.sha256(loaded.tokenizer.to_str().encode())
    for name, tensor in sorted(loaded.encoder.weights().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    model = Model(loaded.encoder, {}).to(device)
    with progress.bar("the teacher reads train", len(texts)) as bar:
        outputs = predict(model, loaded.tokenizer, texts, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id, bar=bar)
    return digest.hexdigest(), outputs[EMBEDDING_OUTPUT]
