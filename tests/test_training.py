"""Training data, splits, augmentation, presets and the three networks."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.images import Pixels, face_crop
from training.__main__ import cli
from training.augmentation import Augmentation, augment
from training.data import image_to_input, load_parts
from training.presets import BASE, GRAY128, PRESETS, RGB200
from training.splits import PARTS, TEST_SHARE, hash_lines, part_of, split


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=50), st.integers(0, 9))
def test_equal_content_is_always_in_one_part(contents: list[bytes], seed: int) -> None:
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    parts = split(hashes, 0.2, seed)
    where: dict[bytes, set[str]] = {}
    for content, part in zip(contents, parts, strict=True):
        where.setdefault(content, set()).add(part)
    assert all(len(found) == 1 for found in where.values())
    assert set(parts) <= set(PARTS)
    assert split(hashes[::-1], 0.2, seed) == parts[::-1]


def test_shares_are_kept_and_the_test_part_is_the_same_for_all() -> None:
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]
    small, large = split(hashes, 0.1), split(hashes, 0.2)
    for parts, share in ((small, 0.1), (large, 0.2)):
        assert parts.count("test") / 20_000 == pytest.approx(TEST_SHARE, abs=0.01)
        expected = (1 - TEST_SHARE) * share
        assert parts.count("validation") / 20_000 == pytest.approx(expected, abs=0.01)
    assert [a == "test" for a in small] == [b == "test" for b in large]
    assert split(hashes, 0.1, seed=1) != small
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(hashes, 1.0)


def test_a_part_follows_from_the_seeded_hash() -> None:
    # The rule by hand: the first 8 bytes of sha256("seed:hash"), as a share of 2^64.
    sha256 = hashlib.sha256(b"a face").hexdigest()
    position = int(hashlib.sha256(f"7:{sha256}".encode()).hexdigest()[:16], 16) / 2**64
    expected = "test" if position < 0.1 else "validation" if position < 0.1 + 0.9 * 0.3 else "train"
    assert part_of(sha256, 0.3, seed=7) == expected


def test_lists_name_each_image_once_in_order() -> None:
    parts = {"train": {"x.jpg": "b" * 64, "y.jpg": "b" * 64}, "test": {"z.jpg": "a" * 64}}
    assert hash_lines(parts) == ["a" * 16 + " test", "b" * 16 + " train"]


def test_a_folder_is_split_and_its_faults_are_listed(drawn_faces: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_faces, tmp_path / "data"))
    shutil.copy(folder / "20_1_2_0000.jpg", folder / "55_0_0_7777.jpg")
    (folder / "31_0_0_8888.jpg").write_bytes(b"no picture")
    (folder / "39_1_20170116174525125.jpg.chip.jpg").write_bytes(b"no race")
    found = load_parts(folder, BASE)
    kinds = {(fault.kind, fault.path) for fault in found.faults}
    assert kinds == {
        ("identical_file", "55_0_0_7777.jpg"),
        ("unreadable_file", "31_0_0_8888.jpg"),
        ("malformed_name", "39_1_20170116174525125.jpg.chip.jpg"),
    }
    (twin,) = [fault for fault in found.faults if fault.kind == "identical_file"]
    assert twin.detail == "same bytes as 20_1_2_0000.jpg, other labels"
    assert sum(found.counts.values()) == len(list(drawn_faces.iterdir())) + 1
    assert {name: len(data) for name, data in found.parts.items()} == found.counts
    where = {name: part for part, data in found.parts.items() for name in data.names}
    assert where["20_1_2_0000.jpg"] == where["55_0_0_7777.jpg"]


def test_labels_and_pixels_belong_together(drawn_faces: Path) -> None:
    found = load_parts(drawn_faces, BASE)
    assert found.parts["train"].pixels.shape[1:] == (100, 100, 3)
    for part in ("validation", "test"):
        data = found.parts[part]
        assert data.pixels.shape[1:] == (96, 96, 3)
        for index, name in enumerate(data.names):
            age, gender = name.split("_")[:2]
            assert data.ages[index] == float(age)
            assert data.female[index] == float(gender)  # UTKFace: 1 is female
            expected = face_crop((drawn_faces / name).read_bytes(), 96).pixels
            assert np.array_equal(data.pixels[index], expected)
            assert np.array_equal(image_to_input((drawn_faces / name).read_bytes(), 96), expected)


def test_a_folder_without_a_part_is_an_error(drawn_faces: Path, tmp_path: Path) -> None:
    shutil.copy(next(drawn_faces.iterdir()), tmp_path)
    with pytest.raises(AnnotateError, match="no readable, labelled image for the"):
        load_parts(tmp_path, BASE)


def test_real_data_has_the_known_faults(real_data: Path) -> None:
    found = load_parts(real_data / "utkface", BASE, parts=())
    assert sum(found.counts.values()) == 18_632 - 3
    kinds = [fault.kind for fault in found.faults]
    assert kinds.count("malformed_name") == 3
    assert kinds.count("odd_name") == 2
    assert kinds.count("unreadable_file") == 0


def _noise(count: int = 6, side: int = 40) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_no_augmentation_changes_nothing() -> None:
    pixels = _noise()
    assert np.array_equal(augment(pixels, 40, Augmentation(), np.random.default_rng(1)), pixels)


def test_a_certain_flip_mirrors_every_image() -> None:
    pixels = _noise()
    flipped = augment(pixels, 40, Augmentation(flip=1.0), np.random.default_rng(1))
    assert np.array_equal(flipped, pixels[:, :, ::-1])


def test_erasing_replaces_a_part_of_some_images() -> None:
    pixels = np.full((40, 40, 40, 3), 128, np.uint8)
    views = augment(pixels, 40, Augmentation(erase=0.5), np.random.default_rng(1))
    shares = (views != 128).any(axis=3).mean(axis=(1, 2))
    assert 0.2 < (shares > 0).mean() < 0.8
    # Areas are 2 to 20 % of the image; noise leaves a few pixels as they were.
    assert shares[shares > 0].min() > 0.01
    assert shares.max() < 0.25


def test_certain_graying_makes_the_channels_equal() -> None:
    views = augment(_noise(), 40, Augmentation(grayscale=1.0), np.random.default_rng(1))
    assert np.ptp(views.astype(int), axis=3).max() == 0
    # By hand: 0.299 R + 0.587 G + 0.114 B, rounded.
    expected = np.rint(_noise() @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(views[..., 0] - expected).max() <= 1


def test_views_have_the_size_asked_for_and_follow_from_the_seed() -> None:
    how = BASE.augmentation
    one, same, other = (augment(_noise(), 24, how, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == (6, 24, 24, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_small_rotation_keeps_the_centre_in_place() -> None:
    pixels = np.zeros((1, 41, 41, 3), np.uint8)
    pixels[0, 18:23, 18:23] = 255
    views = augment(pixels, 41, Augmentation(rotate_deg=12.0), np.random.default_rng(3))
    rows, columns = np.nonzero(views[0, :, :, 0] > 127)
    assert (rows.mean(), columns.mean()) == pytest.approx((20, 20), abs=0.6)


def test_the_size_rises_at_the_epoch_that_the_preset_names() -> None:
    assert [BASE.size_at(epoch) for epoch in (1, 7, 8, 20)] == [64, 64, 96, 96]
    assert RGB200.size_at(1) == 200


def test_age_distributions_are_gaussians_around_the_label() -> None:
    from training.batches import age_distribution

    rows = age_distribution(np.array([0.0, 50.0], np.float32), 117, 2.0)
    assert rows.sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    # Far from the edges the peak is 1 / (2 sqrt(2 pi)), one sigma away exp(-1/2) of it.
    assert rows[1, 50] == pytest.approx(0.19947, abs=1e-4)
    assert rows[1, 52] / rows[1, 50] == pytest.approx(0.60653, abs=1e-4)
    assert rows[0, 0] == rows[0].max()


def test_batches_follow_from_seed_epoch_and_place(drawn_faces: Path) -> None:
    from training.batches import Batches

    data = load_parts(drawn_faces, RGB200, parts=("train",)).parts["train"]
    first, second = (Batches(data, RGB200, training=True, seed=3) for _ in range(2))
    assert len(first) == -(-len(data) // 64)
    assert np.array_equal(first[1][0], second[1][0])
    second.epoch = 2
    assert not np.array_equal(first[1][0], second[1][0])
    pixels = [image for index in range(len(first)) for image in first[index][1]["age"][:, 0]]
    assert sorted(pixels) == sorted(data.ages.tolist())


def test_the_rgb_network_is_the_one_described() -> None:
    import_keras()
    from training.fit import build_model

    network = build_model(RGB200, fixed_size=True)
    assert network.input_shape == (None, 200, 200, 3)
    assert _layers(network) == [
        ("Conv2D", 32, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Conv2D", 64, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Conv2D", 128, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Flatten",),
        ("Dense", 512, "relu"),
        ("Dense", 128, "relu"),
        ("Dense", 1, "linear"),
        ("Dense", 1, "sigmoid"),
    ]
    # Sides 200 -> 198 -> 99 -> 97 -> 48 -> 46 -> 23.
    convolutions = (27 + 1) * 32 + (288 + 1) * 64 + (576 + 1) * 128
    dense = (23 * 23 * 128 + 1) * 512 + (512 + 1) * 128 + 2 * (128 + 1)
    assert network.count_params() == convolutions + dense == 34_828_226


def test_the_gray_network_is_the_one_described() -> None:
    import_keras()
    from training.fit import build_model

    network = build_model(GRAY128, fixed_size=True)
    assert network.input_shape == (None, 128, 128, 3)
    convolutions = [
        layer
        for filters in (32, 64, 128, 256)
        for layer in (("Conv2D", filters, (3, 3), "relu"), ("MaxPooling2D", (2, 2)))
    ]
    layers = _layers(network)
    assert layers[0] == ("Conv2D", 1, (1, 1), "linear")  # graying, which is not trained
    assert layers[1:10] == [*convolutions, ("Flatten",)]
    assert sorted(layers[10:]) == sorted(
        [("Dense", 256, "relu"), ("Dropout", 0.3)] * 2
        + [("Dense", 1, "linear"), ("Dense", 1, "sigmoid")]
    )
    # Sides 128 -> 126 -> 63 -> 61 -> 30 -> 28 -> 14 -> 12 -> 6.
    weights = (9 + 1) * 32 + (288 + 1) * 64 + (576 + 1) * 128 + (1152 + 1) * 256
    weights += 2 * (6 * 6 * 256 + 1) * 256 + 2 * (256 + 1)
    assert network.count_params() == weights + 3 == 5_107_461
    assert sum(int(np.prod(v.shape)) for v in network.trainable_weights) == weights
    assert (GRAY128.epochs, GRAY128.validation_share, GRAY128.optimizer) == (30, 0.2, "adam")
    assert GRAY128.age_loss == "mean_absolute_error"


def test_the_gray_network_sees_brightness_from_0_to_1() -> None:
    keras = import_keras()
    from training.fit import build_model

    network = build_model(GRAY128, fixed_size=True)
    gray = keras.Model(network.inputs, network.get_layer("luma").output)
    pixels = np.zeros((3, 128, 128, 3), np.uint8)
    pixels[0, ..., 0] = 255
    pixels[1, ..., 1] = 255
    pixels[2] = 255
    seen = np.asarray(gray.predict_on_batch(pixels))
    assert seen.shape == (3, 128, 128, 1)
    assert seen[:, 5, 5, 0] == pytest.approx([0.299, 0.587, 1.0], abs=1e-5)


def _layers(network: object) -> list[tuple[object, ...]]:
    """What matters of each layer, without the input and scaling."""
    found: list[tuple[object, ...]] = []
    for layer in network.layers:  # type: ignore[attr-defined]
        kind = type(layer).__name__
        config = layer.get_config()
        if kind == "Conv2D":
            size = tuple(config["kernel_size"])
            found.append((kind, config["filters"], size, config["activation"]))
        elif kind == "Dense":
            found.append((kind, config["units"], config["activation"]))
        elif kind == "MaxPooling2D":
            found.append((kind, tuple(config["pool_size"])))
        elif kind == "Dropout":
            found.append((kind, config["rate"]))
        elif kind not in ("InputLayer", "Rescaling"):
            found.append((kind,))
    return found


def test_the_base_network_takes_any_size_in_training_and_one_in_use() -> None:
    import_keras()
    from training.fit import build_model

    free, fixed = build_model(BASE, fixed_size=False), build_model(BASE, fixed_size=True)
    assert free.input_shape == (None, None, None, 3)
    assert fixed.input_shape == (None, 96, 96, 3)
    # Stem, then two blocks a stage of two 3x3 convolutions, and a 1x1 shortcut where the
    # filters grow; normalisation has four values a filter; the heads have 117 + 1 outputs.
    convolutions = 27 * 24 + 4 * 9 * 24 * 24
    normalised = 24 * 5
    for before, filters in ((24, 48), (48, 96), (96, 192)):
        convolutions += 9 * filters * before + 3 * 9 * filters * filters + before * filters
        normalised += filters * 5
    assert free.count_params() == convolutions + 4 * normalised + 193 * 118 == fixed.count_params()


def test_every_command_and_option_has_help() -> None:
    assert set(cli.commands) == {"presets", "fit", "evaluate", "export", "split"}
    for name, command in cli.commands.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None), f"{name} {option.name}"


def test_presets_are_listed_with_their_commands() -> None:
    done = CliRunner().invoke(cli, ["presets"])
    assert done.exit_code == 0
    for preset in PRESETS.values():
        assert preset.command in done.output
        assert preset.source in done.output


def test_the_split_command_writes_a_line_for_each_image(drawn_faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.txt"
    done = CliRunner().invoke(cli, ["split", "--data", str(drawn_faces), "--out", str(out)])
    assert done.exit_code == 0, done.output
    lines = out.read_text("ascii").splitlines()
    assert len(lines) == len(list(drawn_faces.iterdir()))
    name = "20_1_2_0000.jpg"
    sha256 = hashlib.sha256((drawn_faces / name).read_bytes()).hexdigest()
    assert f"{sha256[:16]} {part_of(sha256, 0.1)}" in lines


@pytest.fixture(scope="session")
def drawn_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 drawn "faces" with UTKFace names, all different."""
    folder = tmp_path_factory.mktemp("drawn") / "utkface"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(120):
        age, gender, race = (20 + index) % 90, (index + 1) % 2, (index + 2) % 5
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels[..., 0] = 255 * gender
        image = Image.fromarray(pixels).resize((50, 50))
        image.save(folder / f"{age}_{gender}_{race}_{index:04d}.jpg", quality=90)
    return folder
