from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench import data


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or fills the user's cache of references."""
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Writes digits as a folder of PNG files: `folder("made", "test", 100)`."""

    def write(name: str, split: str, n: int, suffix: str = ".png", noise: float = 0.0) -> Path:
        images = data.load("digits", split).images[:n].numpy().astype(np.float64)
        images += np.random.default_rng(0).normal(size=images.shape) * noise
        path = tmp_path / name
        path.mkdir()
        for i, image in enumerate(np.clip(images, 0, 255).astype(np.uint8)):
            Image.fromarray(image[0]).save(path / f"{i:04d}{suffix}")
        return path

    return write


@pytest.fixture
def network(tmp_path):
    """A small network of the user's own that notes how many images it sees, as `FILE.py:Net`."""
    path = tmp_path / "own.py"
    path.write_text(
        "from pathlib import Path\n"
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        with Path(__file__).with_suffix('.seen').open('a') as file:\n"
        "            file.write(f'{len(images)}\\n')\n"
        "        x = images.float().flatten(1)\n"
        "        return torch.stack([x.mean(1), x.std(1), x[:, 20], x[:, 35]], dim=1)\n"
    )
    return f"{path}:Net"
