"""Which rows say that a text fits no label?"""

from dataclasses import replace

from training.data.rows import Row, Splits
from training.errors import DataError


def take_out(splits: Splits, label: str, *, needed: bool) -> Splits:
    """`splits` with the rows of `label` in `outside`. Those of train and dev choose the score of scope, for neither is
    trained; those of test judge it.

    Raises:
        DataError: no row has this label, or no row of train or dev and the score is to be chosen by them (`needed`).
    """
    if all(row.label != label for rows in (splits.train, splits.dev, splits.test) for row in rows):
        raise DataError(f"head.out_of_scope: no row has the label {label!r}")
    train, dev, test = ([row for row in rows if row.label != label] for rows in (splits.train, splits.dev, splits.test))
    chosen_by = [row for row in (*splits.train, *splits.dev) if row.label == label]
    if needed and not chosen_by:
        raise DataError(f"head.out_of_scope: no train or dev row has the label {label!r}; name a `score`")
    outside: dict[str, list[Row]] = {"dev": chosen_by, "test": [row for row in splits.test if row.label == label]}
    labels = [each for each in splits.labels if each != label]
    return replace(splits, train=train, dev=dev, test=test, labels=labels, outside=outside)
