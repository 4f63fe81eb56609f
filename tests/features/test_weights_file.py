"""Weights files: where they are looked for, that they are checked, and what is said if not."""

import hashlib
import http.server
import re
import threading
import time

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genbench.features import WeightsError
from genbench.features.weights_file import Weights, fill, locate, read_state

FILE = "toy-0badcafe.pth"
DEAD = "http://127.0.0.1:9/toy.pth"  # nothing listens on the discard port


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders (named by the variable, of torch.hub), both empty."""
    named, hub = tmp_path / "named", tmp_path / "hub" / "checkpoints"
    named.mkdir()
    hub.mkdir(parents=True)
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(named))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return named, hub


@pytest.fixture
def server():
    """A local web server that answers every request with b"content"."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/toy.pth"
        web.shutdown()
        thread.join()


def write(path, content=b"content"):
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_order_of_places(places, tmp_path):
    named, hub = places
    at_hub = write(hub / FILE, b"hub")
    assert locate("toy", FILE, DEAD, None, at_hub[:8]) == Weights(hub / FILE, at_hub, True)
    at_named = write(named / FILE, b"named")
    assert locate("toy", FILE, DEAD, None, at_named.upper()) == Weights(
        named / FILE, at_named, True
    )
    mine = tmp_path / "mine.pth"
    digest = write(mine, b"mine")
    assert locate("toy", FILE, DEAD, mine, at_named) == Weights(mine, digest, False)
    assert locate("toy", FILE, DEAD, mine, digest[:8]) == Weights(mine, digest, True)
    assert not locate("toy", FILE, DEAD, mine).official  # nothing says that it is


def test_other_names_of_the_same_file(places):
    _, hub = places
    digest = write(hub / "other.pth")
    found = locate("toy", FILE, DEAD, None, digest[:8], also=["other.pth"])
    assert found == Weights(hub / "other.pth", digest, True)


def test_download_to_the_hub(places, server):
    _, hub = places
    digest = hashlib.sha256(b"content").hexdigest()
    assert locate("toy", FILE, server, None, digest[:8]) == Weights(hub / FILE, digest, True)
    assert (hub / FILE).read_bytes() == b"content"
    assert locate("toy", FILE, DEAD, None, digest[:8]).path == hub / FILE  # kept


def test_download_of_something_else_is_not_kept(places, server):
    _, hub = places
    with pytest.raises(WeightsError, match=r"invalid hash value \(expected \"00000000\""):
        locate("toy", FILE, server, None, "00000000")
    assert not list(hub.iterdir())


def test_missing_offline_fails_at_once_and_says_how_to_go_on(places):
    named, hub = places
    begin = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        locate("toy", FILE, DEAD, None, "0badcafe")
    assert time.monotonic() - begin < 10
    text = str(caught.value)
    assert text.startswith(f"weights of toy are missing: no file {FILE} in {named} and {hub}")
    assert DEAD in text and "--weights FILE" in text and "GENBENCH_WEIGHTS" in text
    assert "\n" not in text
    with pytest.raises(WeightsError, match="no download"):
        locate("toy", FILE, "", None)


def test_a_server_that_never_answers_is_given_up(places, monkeypatch):
    import socket

    monkeypatch.setattr("genbench.features.weights_file._TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/toy.pth"
        with pytest.raises(WeightsError, match="timed out"):
            locate("toy", FILE, url, None)
    assert socket.getdefaulttimeout() is None


def test_wrong_content_is_refused_with_both_values(places):
    named, _ = places
    digest = write(named / FILE)
    with pytest.raises(WeightsError, match=f"0badcafe.*{digest}.*--weights"):
        locate("toy", FILE, DEAD, None, "0badcafe")


def test_files_and_folders_that_are_not_there(places, tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=f"no weights file .*nowhere.pth for toy.*{FILE}"):
        locate("toy", FILE, DEAD, tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="no weights file"):
        locate("toy", FILE, DEAD, tmp_path)  # a folder
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match="GENBENCH_WEIGHTS names .*nowhere, which is not"):
        locate("toy", FILE, DEAD, None)


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "nested.pth"])
def test_read(tmp_path, suffix):
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1)}
    path = tmp_path / f"toy.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 1} if "nested" in suffix else state, path)
    found = read_state(Weights(path, "", True), "toy")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], state[k]) for k in state)


class Custom:
    """Something that only unpickling code could bring back."""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.pth", b"<html>404</html>"),
        ("empty.pth", b""),
        ("text.safetensors", b"<html>404</html>"),
        ("code.pth", Custom()),
        ("list.pth", [torch.ones(1)]),
        ("nothing.pth", {}),
        ("numbers.pth", {"a": 1.0}),
    ],
)
def test_what_is_no_weights_file_is_named_in_one_sentence(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=f"{re.escape(str(path))}.*toy") as caught:
        read_state(Weights(path, "", False), "toy")
    assert "\n" not in str(caught.value)


def test_fill():
    weights = Weights(torch.__path__[0], "", True)
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {k: torch.full_like(v, 2) for k, v in network.state_dict().items()}
    fill(network, state, weights, "toy")
    assert all((v == 2).all() for v in network.state_dict().values())
    del state["1.num_batches_tracked"]
    fill(network, state, weights, "toy")
    del state["0.bias"]
    state |= {"0.weight": torch.ones(3, 3), "2.weight": torch.ones(1)}
    wanted = (
        "another network than toy (missing tensors: 1, such as '0.bias', unknown: 1, such as "
        "'2.weight', of another shape: 1, such as '0.weight', (3, 3) for (3, 2));"
    )
    with pytest.raises(WeightsError, match=re.escape(wanted)):
        fill(network, state, weights, "toy")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda: torch.empty(3, device="meta"), "on the device 'meta', without numbers"),
        (lambda: torch.eye(3).to_sparse(), "torch.sparse_coo"),
        (lambda: torch.zeros(3, dtype=torch.complex64), "complex64"),
        (lambda: {"deep": torch.zeros(3)}, "dict"),
    ],
)
def test_tensors_without_plain_numbers_are_named(tmp_path, value, said):
    path = tmp_path / "own.pt"
    torch.save({"a": torch.zeros(3), "b\x1b[31m": value()}, path)
    with pytest.raises(WeightsError, match=rf"holds no tensors by name \(b: .*{said}") as error:
        read_state(Weights(path, "ab" * 32, False), "toy")
    assert str(error.value).isprintable()


def test_names_that_would_move_the_cursor_are_cleaned(tmp_path):
    path = tmp_path / "own.pt"
    torch.save({"a\x1b[2J\u202e": torch.zeros(3)}, path)
    weights = Weights(path, "ab" * 32, False)
    net = nn.Linear(3, 1)
    with pytest.raises(WeightsError, match="unknown: 1") as error:
        fill(net, read_state(weights, "toy"), weights, "toy")
    assert str(error.value).isprintable()
