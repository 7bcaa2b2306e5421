"""Batch normalisation as every network here takes it: plain in use, quick in training.

Keras 3 composes batch normalisation of single operations on PyTorch, which takes as long as
the convolutions on a CPU. PyTorch's own kernel does the same in one pass, forth and back.
"""

from __future__ import annotations

import keras
from keras import layers

MOMENTUM = 0.97
"""Share of the moving statistics that a batch leaves as they were."""

EPSILON = 1e-3


def batch_normalization(name: str | None = None) -> layers.Layer:
    """The layer.

    On TensorFlow, from which models are exported, it is always Keras's own. The variables, their
    order and what they mean are the same on every backend.
    """
    if keras.backend.backend() == "torch":
        return FusedBatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)


class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """Keras's layer with PyTorch's kernel where it trains. Channels come last."""

    def call(self, inputs, training=None, mask=None):  # type: ignore[no-untyped-def]
        """Normalise. inputs: (N, H, W, C). The moving statistics follow where it trains."""
        from torch.nn.functional import batch_norm

        normalized = batch_norm(
            inputs.movedim(-1, 1),
            self.moving_mean.value,
            self.moving_variance.value,
            self.gamma.value,
            self.beta.value,
            training=bool(training) and self.trainable,
            momentum=1 - self.momentum,
            eps=self.epsilon,
        )
        return normalized.movedim(1, -1)
