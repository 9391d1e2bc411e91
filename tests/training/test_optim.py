"""Rates and decay go to the weights they are meant for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.modeling import ClassifierHead, Model, load_encoder
from training.optim import lr_factor, make_optimizer, set_lr
from training.recipe import EncoderTable, OptimTable


def test_biases_and_norms_do_not_decay_and_heads_learn_faster(tiny_encoder: Path) -> None:
    encoder = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder
    model = Model(encoder, {"label": ClassifierHead(32, 2, 0.0)})
    names = {parameter: name for name, parameter in model.named_parameters()}

    optimizer = make_optimizer(model, OptimTable(lr=1e-4, head_lr_scale=20.0, weight_decay=0.01))
    set_lr(optimizer, 0.5)

    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            seen.add(name)
            plain = name.endswith("bias") or "LayerNorm" in name
            assert group["weight_decay"] == (0.0 if plain else 0.01), name
            assert group["lr"] == pytest.approx(1e-3 if name.startswith("heads.") else 5e-5), name
    assert seen == set(names.values())


def test_rate_climbs_over_the_warm_up_and_falls_to_the_end() -> None:
    factors = [lr_factor(step, steps=10, warmup_share=0.3) for step in range(10)]

    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


@given(steps=st.integers(1, 500), share=st.floats(0, 0.99))
def test_every_step_moves_and_none_exceeds_the_peak(steps: int, share: float) -> None:
    factors = [lr_factor(step, steps=steps, warmup_share=share) for step in range(steps)]

    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1)
