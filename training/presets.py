"""Presets: named recipes, each with its source, its command, its cost and what to expect."""

from __future__ import annotations

from dataclasses import dataclass, replace

from training.augmentation import Augmentation

NO_AUGMENTATION = Augmentation()

PRECISIONS = ("float32", "mixed_bfloat16")
"""Keras's policies that a training may compute by. Processors that multiply bfloat16 (Zen 4,
Sapphire Rapids, most GPUs) take half the time for plain convolutions; others take longer, and
depthwise convolutions gain nothing."""


@dataclass(frozen=True)
class Preset:
    """A recipe that `python -m training fit --preset NAME` follows.

    size_px: side of the network's input. source_px: side at which training images are kept
    before augmentation. sizes: (first epoch, counted from 1, side in pixels) where training starts
    smaller.
    age_bins: classes of the age head, None where it is linear. age_sigma: years, width of the
    Gaussian labels. peak_learning_rate: reached after warmup_epochs; schedule: "cosine" falls to
    0 at the last epoch, "constant" stays. restarts: (first epoch, peak) of further cosines; each
    ends where the next begins. patience: epochs without a better `monitor` after
    which training stops, None never. The epoch with the best `monitor` is kept.
    pretrained: published weights to begin with, a key of training.pretrained.WEIGHTS.
    frozen_up_to: the last of the layers that keep them. block_dropout: probability with which the
    last block of the network is left out for an image, others less often. photographs: whether it
    learns from the faces of labelled photographs too. start: a model of the same architecture
    whose weights it begins with; they count start_share in the average that is exported. teachers:
    models from whose mean opinion it learns too, by teacher_share; the labels keep the rest.
    views: another number draws other views of the images, in another order, by the same seed.
    """

    name: str
    about: str
    source: str
    cost: str
    expected: str
    architecture: str
    size_px: int
    epochs: int
    batch_size: int
    age_loss: str
    peak_learning_rate: float
    optimizer: str = "adam"
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    restarts: tuple[tuple[int, float], ...] = ()
    weight_decay: float = 0.0
    age_bins: int | None = None
    age_sigma: float = 2.0
    age_weight: float = 1.0
    gender_weight: float = 1.0
    validation_share: float = 0.1
    patience: int | None = None
    monitor: str = "val_age_mae"
    augmentation: Augmentation = NO_AUGMENTATION
    kept_px: int | None = None
    pretrained: str | None = None
    frozen_up_to: str | None = None
    block_dropout: float = 0.0
    photographs: bool = False
    start: str | None = None
    start_share: float = 0.0
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.0
    views: int = 0
    sizes: tuple[tuple[int, int], ...] = ()

    @property
    def source_px(self) -> int:
        """Side in pixels at which training images are kept before augmentation."""
        return self.kept_px or self.size_px

    @property
    def command(self) -> str:
        """The command that trains this preset."""
        words = [f"python -m training fit --preset {self.name} --data $UTKFACE"]
        if self.photographs:
            words.append("--photographs $APPA_REAL --photograph-labels appa_train.csv")
        if self.start is not None:
            words.append(f"--start {self.start}")
        words += [f"--teacher {teacher}" for teacher in self.teachers]
        return " ".join([*words, f"--out runs/{self.name}"])

    def size_at(self, epoch: int) -> int:
        """Side in pixels of the training images in an epoch, counted from 1."""
        side = self.size_px
        for first, size_px in self.sizes:
            if epoch >= first:
                side = size_px
        return side


PHOTOGRAPHIC = Augmentation(
    flip=0.5,
    zoom=(0.88, 1.2),
    rotate_deg=15.0,
    shift=0.07,
    brightness=0.3,
    contrast=0.3,
    saturation=0.4,
    grayscale=0.15,
    blur=0.15,
    reduce=0.15,
    jpeg=0.2,
    erase=0.2,
)
"""What pictures of an archive go through: other framing, light, cameras, programs, hands."""

BASE = Preset(
    name="base",
    about="EfficientNet-Lite0 on 144 px RGB, pretrained on ImageNet, ages as a distribution",
    source="annotate; network and first weights Tan and Le 2019, label distributions after Gao et"
    " al. 2017, schedule after Loshchilov 2017",
    cost="about 160 minutes on two CPU cores that do nothing else, with KERAS_BACKEND=torch",
    expected="see docs/results.md",
    architecture="efficientnet_lite",
    pretrained="efficientnet_lite0",
    # Edges and colours are what they were on ImageNet; learning them again takes a third of the
    # time of each step, because these layers have the most pixels.
    frozen_up_to="stage2_block2_add",
    photographs=True,
    size_px=144,
    kept_px=152,
    sizes=((1, 96), (9, 112), (13, 128), (18, 144)),
    epochs=21,
    batch_size=64,
    optimizer="adamw",
    peak_learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    restarts=((13, 5e-4),),
    weight_decay=0.03,
    age_loss="categorical_crossentropy",
    age_bins=117,
    age_sigma=2.0,
    gender_weight=1.5,
    augmentation=PHOTOGRAPHIC,
)

BASE_112 = replace(
    BASE,
    name="base_112",
    about="EfficientNet-Lite0 on 112 px RGB, pretrained on ImageNet: the first cycle of base alone",
    cost="about 30 minutes on two CPU cores that do nothing else",
    # To tell what photographs are worth: fit it with --photographs and without.
    photographs=False,
    size_px=112,
    sizes=((1, 96), (9, 112)),
    epochs=12,
    restarts=(),
)

BASE_TAUGHT = replace(
    BASE,
    name="base_taught",
    about="EfficientNet-Lite0 on 144 px RGB, pretrained on ImageNet, then taught by itself and by"
    " nano, ages as a distribution",
    source=f"{BASE.source}; a network taught by its like after Furlanello et al. 2018",
    cost="about 50 minutes on two CPU cores that do nothing else, after those of base",
    expected="see docs/results.md",
    # Alone, base learnt its images by heart: 3.1 years off on them, 4.9 on others. Two models
    # that differ in size agree on less of that than one with itself, and a network that cannot
    # count on all its blocks learns less of it.
    start="base",
    teachers=("base", "nano"),
    start_share=0.5,
    teacher_share=0.7,
    block_dropout=0.2,
    pretrained=None,
    # The average of both is at its best where the first was trained, at 144 px.
    kept_px=168,
    sizes=((1, 112), (4, 136), (7, 160)),
    epochs=9,
    peak_learning_rate=5e-4,
    restarts=(),
    weight_decay=0.05,
)

BASE_TAUGHT_AGAIN = replace(
    BASE_TAUGHT,
    name="base_taught_again",
    about="EfficientNet-Lite0 on 144 px RGB, pretrained on ImageNet, then taught by itself and by"
    " nano, twice, ages as a distribution",
    cost="about 60 minutes on two CPU cores that do nothing else, after those of base_taught",
    start="base_taught",
    teachers=("base_taught", "base", "nano"),
    start_share=0.3,
    views=1,
)

NANO = replace(
    BASE,
    name="nano",
    about="the front of EfficientNet-Lite0 on 64 px RGB, taught by base, for millions of images",
    source="annotate; network and first weights Tan and Le 2019, distillation after Hinton et al."
    " 2015",
    cost="about 40 minutes on two CPU cores that do nothing else, with KERAS_BACKEND=torch",
    architecture="efficientnet_lite_nano",
    frozen_up_to="stage1_block1_project_norm",
    teachers=("base",),
    teacher_share=0.6,
    size_px=64,
    # Large enough for the teacher; views are cut from it at 64 px.
    kept_px=BASE.size_px,
    sizes=(),
    epochs=15,
    peak_learning_rate=2e-3,
    restarts=(),
)

RGB200 = Preset(
    name="rgb200",
    about="the RGB network that this project grew from: 200 px, one linear age",
    source="three convolutions (32, 64, 128), dense 512 and 128, as its authors described it;"
    " optimiser, losses and epochs are ours",
    cost="about 3 minutes an epoch on two CPU cores with --precision mixed_bfloat16, where they"
    " have it; 5 to 8 without",
    expected="gender accuracy 0.929 and age MSE 66.2 on the test part, see docs/results.md; its"
    " authors' figures are 0.85 and 75.36",
    architecture="convnet_rgb",
    size_px=200,
    epochs=15,
    batch_size=64,
    optimizer="adamw",
    peak_learning_rate=7e-4,
    schedule="cosine",
    warmup_epochs=0.5,
    weight_decay=0.1,
    age_loss="mean_squared_error",
    # The squared error starts near 1,000 and the cross-entropy near 0.7; unweighted, the shared
    # layers would learn age alone.
    age_weight=0.01,
    # Its dense layers have a weight for each place, so that faces must stay about where they are;
    # but 35 million weights learn 15,000 images by heart that do not move at all.
    augmentation=Augmentation(
        flip=0.5,
        zoom=(0.95, 1.06),
        rotate_deg=4.0,
        shift=0.02,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
    ),
)

GRAY128 = Preset(
    name="gray128",
    about="the grayscale network that this project grew from: 128 px, a branch for each head",
    source="four convolutions (32 to 256), dense 256 with dropout in two branches, Adam, binary"
    " cross-entropy and MAE, 30 epochs, validation split 0.2, as its authors described it",
    cost="about 65 seconds an epoch on two CPU cores with --precision mixed_bfloat16, where they"
    " have it; 2 to 3 minutes without",
    expected="gender accuracy 0.889 and age MAE 7.06 on the test part, see docs/results.md; no"
    " figures are known from its authors",
    architecture="convnet_gray",
    size_px=128,
    epochs=30,
    batch_size=32,
    peak_learning_rate=1e-3,
    age_loss="mean_absolute_error",
    validation_share=0.2,
)

ALL = (BASE, BASE_112, BASE_TAUGHT, BASE_TAUGHT_AGAIN, NANO, RGB200, GRAY128)
PRESETS = {preset.name: preset for preset in ALL}
