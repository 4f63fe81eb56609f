"""`genbench eval` as a user types it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from toys import environment, genbench

from genbench.cli import main

DIGITS = ("--extractor", "digits-cnn")


@pytest.fixture
def here(capsys):
    """Runs the command in this process, which is quicker: exit code, stdout, stderr."""

    def run(*arguments):
        deterministic = torch.get_deterministic_debug_mode()
        try:
            code = main(["eval", *map(str, arguments)])
        finally:
            torch.set_deterministic_debug_mode(deterministic)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_a_folder_against_a_dataset(folder):
    made = folder("made", "test", 120)
    ran = genbench(
        "eval", made, "--reference", "digits:train", *DIGITS, "--metrics", "fid,is,kid,prdc",
        "--json", "kid.subset_size=50", "kid.subsets=20",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    content = json.loads(ran.stdout)
    assert [name.split("@")[0] for name in content["scores"]] == [
        "fd", "is", "kid", *("precision", "recall", "density", "coverage"),
    ]  # fmt: skip
    for name, score in content["scores"].items():
        assert "digits-cnn" in name and score["n"] == 120
        assert score["ci95"][0] <= score["value"] <= score["ci95"][1]
    assert content["reference"]["name"] == "digits:train"
    assert content["extractors"]["digits-cnn"]["sha256"]


def test_the_table_says_what_the_numbers_are(folder, here):
    made = folder("made", "test", 120)
    code, out, err = here(made, "--reference", "digits:train", *DIGITS, "--metrics", "fd,is")
    assert code == 0, err
    assert "FD (digits-cnn)" in out and "IS (digits-cnn)" in out
    assert "fd@digits-cnn/digits:train/n120" in out
    assert "jackknife, 20 groups of samples" in out
    assert str(made.parent) not in out


def test_statistics_are_saved_and_used(folder, tmp_path, here):
    made, file = folder("made", "test", 60), tmp_path / "digits.stats"
    reference = ("--reference", "digits:train")
    code, out, _ = here(*reference, *DIGITS, "--metrics", "fd", "--save-stats", file)
    assert (code, out) == (0, "")
    _, first, _ = here(made, "--load-stats", file, *DIGITS, "--metrics", "fd", "--json")
    _, again, _ = here(made, *reference, *DIGITS, "--metrics", "fd", "--json")
    assert json.loads(first)["scores"] == json.loads(again)["scores"]
    other = ("--extractor", "mnist-cnn", "--metrics", "fd")
    code, _, err = here(made, "--load-stats", file, *other)
    assert code == 2 and "statistics of another network" in err


def test_inception_without_weights_is_one_sentence(folder, tmp_path):
    made = folder("made", "test", 20)
    env = {**environment(), "TORCH_HOME": str(tmp_path / "hub"), "GENBENCH_CACHE": str(tmp_path)}
    env |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-m", "genbench", "eval", str(made), "--reference", "digits:train"],
        capture_output=True, text=True, env=env, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 2 and ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1 and "Traceback" not in ran.stderr
    assert "weights of inception are missing" in ran.stderr and "--weights FILE" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the images to score"),
        (("nowhere", *DIGITS), "nowhere"),
        (("digits:test", "--metrics", "fdi", *DIGITS), "did you mean 'fd'"),
        (("digits:test", "--extractor", "digit-cnn"), "did you mean 'digits-cnn'"),
        (("digits:test", *DIGITS, "--metrics", "fd"), "name them with --reference"),
        (("digits:test", *DIGITS, "--metrics", "is", "n=361"), "n=361 was promised"),
        (("digits:test", *DIGITS, "--weights", "nofile"), "there is no file nofile"),
        (("digits:test", *DIGITS, "--metrics", "is", "resise=3"), "did you mean 'resize'"),
        (("digits:test", *DIGITS, "--device", "cdua"), "no device 'cdua'"),
    ],
)
def test_mistakes_exit_2_with_one_sentence(arguments, said, here):
    code, out, err = here(*arguments)
    assert (code, out) == (2, "") and said in err
    assert len(err.strip().splitlines()) == 1


def test_an_unreadable_file_is_named_or_skipped(folder, here):
    made = folder("made", "test", 40)
    whole = (made / "0007.png").read_bytes()
    (made / "0007.png").write_bytes(whole[:60])
    code, _, err = here(made, *DIGITS, "--metrics", "is")
    assert code == 2 and "0007.png" in err and "on_error=skip" in err
    code, out, err = here(made, *DIGITS, "--metrics", "is", "on_error=skip", "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["generated"]["n"] == 39 and "0007" in str(content["generated"]["notes"])
    assert "is@digits-cnn/n39" in content["scores"]


def test_a_network_of_the_users_own(folder, network, here):
    made = folder("made", "test", 40)
    own = ("--extractor", network, "--metrics", "fd", "--json")
    code, out, err = here(made, "--reference", "digits:train", *own)
    assert code == 0, err
    (name,) = json.loads(out)["scores"]
    assert name.startswith("fd@own:Net/digits:train/n40/weights=")


def test_pairs_and_arrays(folder, tmp_path, here):
    made = folder("made", "test", 10, noise=10.0)
    images = np.stack([np.asarray(Image.open(p)) for p in sorted(made.iterdir())])
    np.savez(tmp_path / "made.npz", arr_0=np.repeat(images[..., None], 3, axis=3))
    np.save(tmp_path / "real.npy", np.repeat(images[..., None], 3, axis=3))
    sides = (tmp_path / "made.npz", "--reference", tmp_path / "real.npy")
    code, out, err = here(*sides, "--metrics", "psnr,ssim", "--json", "ssim.window=5")
    assert code == 0, err
    values = {k.split("@")[0]: v["value"] for k, v in json.loads(out)["scores"].items()}
    assert values["ssim"] == pytest.approx(1.0)


def test_help_starts_without_torch():
    code = (
        "import sys, genbench.cli\n"
        "try: genbench.cli.main(['eval', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    env = {**os.environ, **environment()}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", "--reference", "digits:train"), "an argument is empty, beside eval"),
        (("digits:test", "--reference="), "an argument is empty, beside --reference"),
        (("digits:test", "data.root="), "data.root= is empty"),
        (("digits:test", "--metrics", "is,"), "take out the comma"),
        (("~nobodyhere/x", "--metrics", "is"), "there is no '~nobodyhere/x'"),
        (("a" * 300, "--metrics", "is"), "there is no 'aaa"),
        (("digits:test", "--metrics", "is", "--weights", "FILE"), "digits-cnn comes with its"),
        (("digits:test", "--metrics", "lpips", "--weights", "FILE"), "--weights lpips=FILE"),
        (("digits:test", "--metrics", "psnr", "--weights", "FILE"), "would not be read"),
        (("digits:test", "--metrics", "is", "--weights", "inceptoin=FILE"), "no metric looks thr"),
    ],
)
def test_arguments_that_say_nothing_are_refused(arguments, said, here, tmp_path):
    (tmp_path / "FILE").write_text("")
    here_of = [text.replace("FILE", f"{tmp_path / 'FILE'}") for text in arguments]
    code, _, err = here(*here_of, *DIGITS)
    assert code == 2 and said.replace("FILE", f"{tmp_path / 'FILE'}") in err, err


@pytest.mark.parametrize("threads", ["-1", "0", "99999999999", "9" * 5000, "two"])
def test_a_number_of_threads_that_is_none_is_refused(threads, here, capsys):
    with pytest.raises(SystemExit) as exit:
        here("digits:test", "--metrics", "is", "--threads", threads)
    assert exit.value.code == 2
    assert "is not a whole number from 1 to 1024" in capsys.readouterr().err


def test_a_metric_that_fails_is_in_the_table_and_in_the_exit_code(tmp_path, here):
    np.save(tmp_path / "flat.npy", np.full((40, 8, 8), 90, np.uint8))
    flat = tmp_path / "flat.npy"
    code, out, err = here(
        "digits:test", "--reference", flat, *DIGITS, "--metrics", "high_frequency,fd"
    )
    assert code == 3, err
    assert "high frequency (pixels) failed: the real images are all flat" in out
    assert "fd@digits-cnn/flat.npy-" in out
