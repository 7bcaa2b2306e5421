"""The networks, a file each, with build(input_shape) -> keras.Model.

Every network takes uint8 RGB pixels, 0 to 255, and has the outputs "age" and "gender". Those that
may leave out blocks in training take `block_dropout` as well.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from training.architectures import (
    convnet_gray,
    convnet_rgb,
    efficientnet_lite,
    efficientnet_lite_nano,
)

ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "efficientnet_lite": efficientnet_lite.build,
    "efficientnet_lite_nano": efficientnet_lite_nano.build,
    "convnet_rgb": convnet_rgb.build,
    "convnet_gray": convnet_gray.build,
}
