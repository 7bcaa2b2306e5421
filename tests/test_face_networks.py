"""Face networks: only the known weights are ever unpickled, wherever the program is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest

from annotate import face_networks
from annotate.errors import AnnotateError
from annotate.face_networks import check_weights, load_networks, read_weights

Command = Callable[..., "subprocess.CompletedProcess[str]"]


class Mine:
    """What an attacker pickles: unpickling it makes a folder called `pwned`."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, ("pwned",)


def plant(folder: Path) -> None:
    """Weight files with code in them, under every name that mtcnn's own loader would take."""
    for name in ("pnet", "rnet", "onet"):
        folder.mkdir(parents=True, exist_ok=True)
        joblib.dump([Mine()], folder / f"{name}.lz4")


def test_the_planted_files_would_do_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path)
    monkeypatch.chdir(tmp_path)
    joblib.load("pnet.lz4")
    assert (tmp_path / "pwned").is_dir()


def test_weights_in_the_current_folder_are_never_read(
    tmp_path: Path, command: Command, fake_model_folder: Path
) -> None:
    plant(tmp_path)
    plant(tmp_path / "mtcnn" / "assets" / "weights")
    (tmp_path / "plain.png").write_bytes(_white_png())
    done = command("run", ".", "--model", str(fake_model_folder), "-o", "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()


def test_a_package_in_the_current_folder_is_not_run(
    tmp_path: Path, command: Command, fake_model_folder: Path
) -> None:
    """`python -m annotate` puts the current folder first, before the installed packages."""
    plant(tmp_path / "mtcnn" / "assets" / "weights")
    (tmp_path / "mtcnn" / "__init__.py").write_text("import os; os.mkdir('pwned')")
    (tmp_path / "plain.png").write_bytes(_white_png())
    done = command("run", ".", "--model", str(fake_model_folder), "-o", "out.csv", cwd=tmp_path)
    assert not (tmp_path / "pwned").exists()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "mtcnn==1.0.0" in done.stderr


def _white_png() -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (40, 40), "white").save(buffer, "PNG")
    return buffer.getvalue()


def test_weights_of_another_content_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / "mtcnn" / "assets" / "weights")
    (tmp_path / "mtcnn" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "mtcnn"]:
        monkeypatch.delitem(sys.modules, name)
    for call in (check_weights, load_networks, lambda: read_weights("onet")):
        with pytest.raises(AnnotateError, match=r"is not the file of mtcnn 1\.0\.0"):
            call()
    assert not (tmp_path / "pwned").exists()


def test_a_missing_file_and_a_missing_package_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mtcnn").mkdir()
    (tmp_path / "mtcnn" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "mtcnn"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(AnnotateError, match=r"cannot read .*pnet\.lz4: No such file"):
        check_weights()
    monkeypatch.setattr(face_networks.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AnnotateError, match="needs the package mtcnn"):
        check_weights()


def test_tensorflow_is_not_needed_to_find_faces(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from annotate.cascade import Cascade;"
        "Cascade().detect(np.zeros((40, 40, 3), np.uint8));"
        "sys.exit(bool({'tensorflow', 'mtcnn'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == 0


def test_patches_are_cut_as_said() -> None:
    """A ramp from left to right: a patch's mean offset says nothing, but its pixels must be those
    of the picture; judged through the face probability, which a shift of the box changes and a
    second copy of the picture does not.
    """
    networks = load_networks()
    pixels = np.random.default_rng(0).random((2, 3, 60, 60)).astype(np.float32)
    boxes = np.array([[5, 5, 50, 50]] * 2, np.float32)
    first = networks.onet.run(
        None, {"pixels": pixels, "boxes": boxes, "picture_of": np.array([0, 1])}
    )
    swapped = networks.onet.run(
        None, {"pixels": pixels[::-1].copy(), "boxes": boxes, "picture_of": np.array([1, 0])}
    )
    for one, other in zip(first, swapped, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert not np.allclose(one[0], one[1])
