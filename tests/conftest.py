"""What all tests share: no user's caches, one thread, and the folder of real data."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty home and empty caches, so that no test passes thanks to a file of the user's."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
            patch.setenv(name, str(home))
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Sums come in one order; torch is not imported here, for tests that it would slow down."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, for tests marked `data`."""
    root = os.environ.get("GENBENCH_DATA")
    if not root:
        pytest.skip("GENBENCH_DATA does not name a folder of real data")
    if not Path(root).is_dir():
        pytest.skip(f"GENBENCH_DATA names {root}, which is not a folder")
    return Path(root)
