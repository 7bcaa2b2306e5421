"""Measure our batch normalisation under PyTorch against Keras's own; prints JSON.

Run on its own, because a process has one Keras backend: KERAS_BACKEND=torch python FILE.
"""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import torch
from keras import layers

from training.architectures.normalization import EPSILON, MOMENTUM, batch_normalization

SHAPE = (4, 6, 5, 3)
"""Faces, height, width, channels: 120 values a channel."""

STEPS = 3


def main() -> None:
    """Print what tests/test_normalization.py looks at."""
    ours = batch_normalization("n")
    keras_own = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name="n")
    rng = np.random.default_rng(1)
    batches = [rng.normal(3.0, 2.0, SHAPE).astype(np.float32) for _ in range(STEPS)]
    for layer in (ours, keras_own):
        layer.build(SHAPE)
    scales = [rng.normal(1.0, 0.5, 3).astype(np.float32) for _ in range(2)]
    for layer in (ours, keras_own):
        layer.set_weights([*scales, np.zeros(3, np.float32), np.ones(3, np.float32)])
    apart: dict[str, Any] = {"variables": [v.name for v in ours.variables]}
    apart["the_same_variables"] = apart["variables"] == [v.name for v in keras_own.variables]
    trained = [[_step(layer, batch) for batch in batches] for layer in (ours, keras_own)]
    apart["outputs"], apart["gradients"] = _largest(trained)
    apart["mean"] = _apart(ours.moving_mean, keras_own.moving_mean)
    apart["variance"] = _apart(ours.moving_variance, keras_own.moving_variance)
    apart["variance_itself"] = _plain(ours.moving_variance)
    apart["batch_variances"] = [batch.var(axis=(0, 1, 2), ddof=1).tolist() for batch in batches]
    keras_own.set_weights(ours.get_weights())
    apart["in_use"] = _apart(ours(batches[0], training=False), keras_own(batches[0]))
    apart["frozen"] = _frozen(ours, batches[0])
    print(json.dumps(apart))


def _step(layer: Any, batch: np.ndarray) -> tuple[Any, list[Any]]:
    """Output, and the gradients with respect to the input, gamma and beta, of one training step."""
    inputs = torch.tensor(batch, requires_grad=True)
    outputs = layer(inputs, training=True)
    weights = torch.linspace(-1, 2, outputs.numel()).reshape(SHAPE)
    wanted = [inputs, layer.gamma.value, layer.beta.value]
    gradients = torch.autograd.grad((outputs * weights).sum(), wanted)
    return outputs.detach().numpy(), [gradient.numpy() for gradient in gradients]


def _largest(trained: list[list[tuple[Any, list[Any]]]]) -> tuple[float, float]:
    """The largest differences of outputs, and of gradients as shares of the largest gradient."""
    outputs, gradients = [], []
    for (one, one_gradients), (other, other_gradients) in zip(*trained, strict=True):
        outputs.append(_apart(one, other))
        for mine, theirs in zip(one_gradients, other_gradients, strict=True):
            gradients.append(_apart(mine, theirs) / float(np.abs(theirs).max()))
    return max(outputs), max(gradients)


def _frozen(layer: Any, batch: np.ndarray) -> dict[str, float]:
    """How far a frozen layer moves in training, and its output from the one in use."""
    layer.trainable = False
    before = [_plain(variable) for variable in (layer.moving_mean, layer.moving_variance)]
    output = layer(batch, training=True)
    after = [_plain(variable) for variable in (layer.moving_mean, layer.moving_variance)]
    return {
        "statistics": _apart(np.array(before), np.array(after)),
        "output": _apart(output, layer(batch, training=False)),
    }


def _plain(values: Any) -> Any:
    return keras.ops.convert_to_numpy(values).tolist()


def _apart(one: Any, other: Any) -> float:
    one, other = (keras.ops.convert_to_numpy(values) for values in (one, other))
    return float(np.abs(one - other).max())


if __name__ == "__main__":
    main()
