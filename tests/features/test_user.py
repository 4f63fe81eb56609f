"""Networks of the user's own: what may be named, what is checked, and how mistakes are told."""

from pathlib import Path

import pytest
import torch
from pictures import check_that_images_stay_apart, pictures

from genbench import features
from genbench.features import user
from genbench.features.base import WeightsError
from genbench.spec import ConfigError

NET = '''\
"""A network of somebody's."""
import torch
from torch import nn
from genbench.features import Features

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images):
        x = images.expand(-1, 3, -1, -1).float() / 255
        return self.norm(self.conv(x)).relu().mean((2, 3))

class WithProbs(Net):
    def forward(self, images):
        x = super().forward(images).double()
        return x, x.softmax(1)[:, :5]

class Whole(Net):
    def forward(self, images):
        x = super().forward(images)
        return Features(x, x.softmax(1), torch.cat((x, x), 1))

def wide():
    return Net(9)

net = Net(7)
number = 3

class Plain:
    pass

def nothing():
    return "net"

class Picky(Net):
    def __init__(self, width, depth):
        super().__init__()
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "somebodys.py"
    path.write_text(NET)
    return path


def broken(tmp_path: Path, body: str, extra: str = "") -> str:
    """A file with a network whose forward is `body`."""
    path = tmp_path / "broken.py"
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    path.write_text(
        "import torch\nfrom torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        f"        super().__init__()\n        {extra or 'pass'}\n"
        f"    def forward(self, images):\n        x = images.float().flatten(1)\n{lines}"
    )
    return f"{path}:Net"


@pytest.mark.parametrize(("name", "dim"), [("Net", 5), ("wide", 9), ("net", 7)])
def test_a_class_a_function_and_a_module_may_be_named(file, name, dim):
    extractor = features.load(f"{file}:{name}")
    assert (extractor.name, extractor.protocol) == (f"somebodys:{name}", "")
    assert not extractor.official
    images = pictures(6)
    found = extractor(images)
    assert found.features.shape == (6, dim) == (6, extractor.dim)
    assert found.probs is None and found.spatial is None
    assert extractor.classes == 0
    assert not found.features.requires_grad
    # the module in evaluation mode, by hand
    net = extractor.net
    expected = net.conv(images.float() / 255) / (1 + net.norm.eps) ** 0.5
    torch.testing.assert_close(found.features, expected.relu().mean((2, 3)))
    assert extractor(pictures(2, channels=1)).features.shape == (2, dim)


def test_probabilities_and_spatial_features_may_come_along(file):
    images = pictures(4)
    two, whole = features.load(f"{file}:WithProbs"), features.load(f"{file}:Whole")
    assert (two.dim, two.classes) == (5, 5)  # before any image was seen
    found = two(images)
    assert found.features.dtype == found.probs.dtype == torch.float32
    torch.testing.assert_close(found.probs, found.features.softmax(1))
    assert whole(images).spatial.shape == (4, 10)
    assert whole.classes == 5


def test_a_module_may_say_what_its_classes_are_called(file):
    named = features.load(f"{file}:WithProbs")
    assert named.class_names == ()
    named.net.class_names = ["a", "b", "c", "d", "e"]
    assert named.class_names == ("a", "b", "c", "d", "e")
    for wrong in (["a", "b"], "abcde", ["a"] * 5, [1, 2, 3, 4, 5]):
        named.net.class_names = wrong
        with pytest.raises(ConfigError, match="has class_names .* list 5 different texts"):
            named.class_names  # noqa: B018 - a property that checks


def test_an_images_features_are_its_own(file):
    extractor = features.load(f"{file}:net")
    check_that_images_stay_apart(extractor, pictures(9), rtol=1e-5, atol=1e-6)


def test_an_untrained_network_is_the_same_in_every_run(file):
    first = features.load(f"{file}:Net")
    before = torch.default_generator.get_state()
    torch.rand(3)
    again = features.load(f"{file}:Net")
    assert first.sha256 == again.sha256
    assert torch.equal(first.net.conv.weight, again.net.conv.weight)
    torch.default_generator.set_state(before)
    features.load(f"{file}:Net")
    assert torch.equal(torch.default_generator.get_state(), before)


def test_sha256_is_of_code_and_tensors(file, tmp_path):
    net = features.load(f"{file}:Net")
    assert len(net.sha256) == 64
    weights = tmp_path / "weights.pt"
    state = {**net.net.state_dict(), "conv.bias": torch.ones(5)}
    torch.save(state, weights)
    other = features.load(f"{file}:Net", weights=weights)
    assert torch.equal(other.net.conv.bias, torch.ones(5))
    assert other.sha256 != net.sha256
    torch.save({**state, "conv.bias": net.net.conv.bias}, weights)
    assert features.load(f"{file}:Net", weights=weights).sha256 == net.sha256
    file.write_text(NET.replace("relu", "tanh"))
    changed = features.load(f"{file}:Net")
    assert torch.equal(changed.net.conv.weight, net.net.conv.weight)
    assert changed.sha256 != net.sha256


def test_weights_that_do_not_fit_are_refused(file, tmp_path):
    weights = tmp_path / "weights.pt"
    torch.save(features.load(f"{file}:wide").net.state_dict(), weights)
    with pytest.raises(WeightsError, match=r"another network than somebodys:Net .*'conv.weight'"):
        features.load(f"{file}:Net", weights=weights)
    with pytest.raises(WeightsError, match="there is no weights file nowhere.pt for some"):
        features.load(f"{file}:Net", weights=Path("nowhere.pt"))


def test_a_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "genbench_test_neighbour.py").write_text("WIDTH = 11\n")
    (tmp_path / "main.py").write_text(
        NET.replace("import torch\n", "import torch\nfrom genbench_test_neighbour import WIDTH\n")
        + "\ndef other():\n    return Net(WIDTH)\n"
    )
    assert features.load(f"{tmp_path / 'main.py'}:other").dim == 11


def test_an_installed_package_may_bring_one(tmp_path, monkeypatch):
    (tmp_path / "genbench_test_package.py").write_text(NET)
    info = tmp_path / "genbench_test_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genbench-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[genbench.extractors]\nsomebodys-net = genbench_test_package:net\n"
        "no-net = genbench_test_package:missing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    extractor = features.load("somebodys-net")
    assert (extractor.name, extractor.dim) == ("somebodys-net", 7)
    assert "somebodys-net" in features.describe()
    with pytest.raises(ConfigError, match=r"no-net \(genbench_test_package:missing\) cannot be"):
        features.load("no-net")


def test_what_is_no_module_is_told(file, tmp_path):
    with pytest.raises(ConfigError, match=r"has no 'Nett'; did you mean 'Net'\? valid: Net, P"):
        features.load(f"{file}:Nett")
    with pytest.raises(ConfigError, match="is no torch.nn.Module: it is int; name a module"):
        features.load(f"{file}:number")
    with pytest.raises(ConfigError, match=r"Module: nothing\(\) returns str"):
        features.load(f"{file}:nothing")
    with pytest.raises(ConfigError, match="Module: it is the class Plain"):
        features.load(f"{file}:Plain")
    with pytest.raises(ConfigError, match=r"cannot be made by Picky\(\): TypeError: .*'width'"):
        features.load(f"{file}:Picky")
    with pytest.raises(ConfigError, match=r"there is no file .* did you mean 'somebodys.py'"):
        features.load(f"{tmp_path / 'somebody.py'}:Net")
    with pytest.raises(ConfigError, match="runs as its author wrote it; leave out compile"):
        features.load(f"{file}:Net", dtype="bfloat16")


def test_errors_in_the_file_name_the_line(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import torch\n\nx = torch.zeros(2) @ torch.zeros(3)\n")
    with pytest.raises(ConfigError, match=r"bad.py cannot be run: RuntimeError: .*, line 3$"):
        features.load(f"{path}:Net")
    path.write_text("x = 1\ny = (\n")
    with pytest.raises(ConfigError, match=r"bad.py cannot be run: SyntaxError: .*, line 2$"):
        features.load(f"{path}:Net")
    name = broken(tmp_path, "y = x[:, :3]\nreturn y @ torch.zeros(4, 2)")
    with pytest.raises(
        ConfigError, match=r"broken:Net in .*failed on .*\(3, 3, 16, 16\): RuntimeErr.*, line 11$"
    ):
        features.load(name)(pictures(3))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x[0]", r"features of shape \(768,\) for 3 images; return \(3, D\)"),
        ("return x[:2]", r"features of shape \(2, 768\) for 3 images"),
        ("return images.float()", r"features of shape \(3, 3, 16, 16\) for 3 images"),
        ("return images.flatten(1)", "features of torch.uint8; return floating-point"),
        ("return [x]", "returned list; return features"),
        ("return x, None, None", "returned tuple; return features"),
        ("return x, x.tolist()", "returned list as probs; return a tensor"),
        ("x[1, 2] = torch.nan\nreturn x", "NaN or infinities for 1 of 3 images, the first"),
        ("return x.double() * 1e300", "NaN or infinities for 3 of 3 images"),
        ("return x, x", r"probs between 0 and 255 .*; return logits.softmax\(1\)"),
        ("return x, x.log_softmax(1)", r"probs between -.*; return logits.softmax\(1\)"),
        ("return x - x.mean(0)", r"other features \(by up to .*\) when others join its batch"),
        ("return x + torch.rand_like(x) * 9", "nothing may be random"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used_are_told(tmp_path, body, message):
    extractor = features.load(broken(tmp_path, body))
    with pytest.raises(ConfigError, match=message):
        extractor(pictures(3))


def test_batch_norm_on_the_batchs_own_statistics_is_told(tmp_path):
    own = "self.norm = nn.BatchNorm2d(3, track_running_stats=False)"
    extractor = features.load(broken(tmp_path, "return self.norm(images.float()).flatten(1)", own))
    with pytest.raises(ConfigError, match=r"batch norm must use running statistics"):
        extractor(pictures(3))
    training = "self.norm = nn.BatchNorm1d(768)"
    extractor = features.load(broken(tmp_path, "self.train()\nreturn self.norm(x)", training))
    with pytest.raises(ConfigError, match="Expected more than 1 value per channel when training"):
        extractor(pictures(3))
    fine = features.load(broken(tmp_path, "return self.norm(x)", training))
    assert fine(pictures(3)).features.shape == (3, 768)


def test_features_whose_number_depends_on_the_image_are_told(tmp_path):
    extractor = features.load(broken(tmp_path, "return x"))
    assert extractor(pictures(2, height=8)).features.shape == (2, 192)
    with pytest.raises(ConfigError, match=r"gave \(192, 0\) features and classes before, now \("):
        extractor(pictures(2, height=3))


def test_only_uint8_images_are_given_to_it(file):
    with pytest.raises(ValueError, match="somebodys:Net wants uint8 images"):
        features.load(f"{file}:Net")(torch.zeros(2, 3, 8, 8))


def test_it_is_found_again_under_its_own_module_name(file):
    # a second file of the same name in another folder is another module
    other = file.parent / "sub"
    other.mkdir()
    (other / file.name).write_text(NET.replace("width=5", "width=6"))
    first, second = features.load(f"{file}:Net"), features.load(f"{other / file.name}:Net")
    assert (first.dim, second.dim) == (5, 6)
    assert first.name == second.name
    assert first.sha256 != second.sha256
    assert type(first.net).__module__ != type(second.net).__module__
    assert user.UserExtractor is type(first)
