"""Files that settings name: their content is part of the key."""

import pytest
from pydantic import ValidationError
from toys import genbench, package, suite_file, toy

from genbench import api
from genbench.spec import content_key
from genbench.store import Store


class Config(api.Config):
    weights: api.HashedFile


def test_the_content_is_in_the_key_and_what_was_planned_is_checked(tmp_path):
    path = tmp_path / "w.bin"
    path.write_bytes(b"one")
    first = Config(weights=str(path))
    assert first.weights.path == path and len(first.weights.digest) == 16
    dump = first.model_dump(mode="json")
    assert dump["weights"] == f"{path}#sha256={first.weights.digest}"
    assert Config.model_validate(dump) == first
    path.write_bytes(b"two")
    second = Config(weights=path).model_dump(mode="json")
    assert content_key(second) != content_key(dump)
    with pytest.raises(ValidationError, match="w.bin changed since this was planned"):
        Config.model_validate(dump)
    with pytest.raises(ValidationError, match="there is no file"):
        Config(weights=str(tmp_path))


FAMILY = toy("Loads").replace(
    '    kind = "toy"\n',
    '    kind = "toy"\n    class Config(api.Config):\n        weights: api.HashedFile\n',
)
FAMILY = FAMILY.replace(
    "        self.shape = data.shape\n",
    "        self.shape, self.shift = data.shape, len(config.weights.path.read_bytes())\n",
)


def test_other_weights_at_the_same_path_are_another_run(tmp_path):
    extra = package(tmp_path / "path", {"loads": FAMILY})
    weights = tmp_path / "w.bin"
    path = suite_file(tmp_path, [f'baseline = "loads"\nconfig = {{ weights = "{weights}" }}'])
    run = ("run", path, "--out", tmp_path / "out", "--executor", "inline", "--threads", 1)
    for content, done in ((b"a", False), (b"a", True), (b"bb", False)):
        weights.write_bytes(content)
        ran = genbench(*run, extra_path=extra)
        assert ran.returncode == 0, ran.stderr
        assert ("1 of 1 cells are done already" in ran.stderr) == done
    assert len(Store(tmp_path / "out").records()) == 2
    weights.unlink()
    ran = genbench(*run, extra_path=extra)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "no file" in ran.stderr
