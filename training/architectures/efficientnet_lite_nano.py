"""The front of EfficientNet-Lite0, for small pictures: as quick as decoding them.

About 25 million multiply-adds and 0.7 million parameters at 64 px. Works at any input size.
Source: Tan and Le 2019; where to cut is ours.
"""

from __future__ import annotations

import keras

from training.architectures.efficientnet_lite import STAGES, Stage, network

NANO_STAGES = (
    *STAGES[:3],
    STAGES[3]._replace(blocks=2),
    STAGES[4]._replace(blocks=2),
    Stage(1, 5, 2, 6, 192),
)
"""The later stages have fewer blocks than the published network, and the seventh is left out."""


def build(
    input_shape: tuple[int | None, int | None, int], block_dropout: float = 0.0
) -> keras.Model:
    """The network. input_shape: (S, S, 3), or (None, None, 3) to train at rising sizes.

    block_dropout: as in efficientnet_lite.
    Input uint8 RGB. Outputs: "age" (N, 117), probability of each age in years; "gender" (N, 1),
    probability of `female`.
    """
    return network(input_shape, NANO_STAGES, "efficientnet_lite_nano", block_dropout)
