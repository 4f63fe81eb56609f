"""`scenes-clip`: which caption belongs to which picture, and what the scripts call true."""

import json
import shutil
import sys
from random import Random

import pytest
import torch
import torch.nn.functional as F
from pictures import pictures
from scene_tools import tool

from genbench import features
from genbench.data.scenes import LENGTH, VOCABULARY, Scenes, parse, write
from genbench.features.cards import WEIGHTS
from genbench.features.scenes_clip import MODEL, build, load_clip, prepare, tokens
from genbench.spec import ConfigError

INDEX = torch.arange(300)
CARD = features.card("scenes-clip")


@pytest.fixture(scope="module")
def clip():
    return features.load("scenes-clip")


@pytest.fixture(scope="module")
def images():
    return Scenes("test").images(INDEX)


@pytest.fixture(scope="module")
def captions():
    return Scenes("test").captions(INDEX)


def test_the_card_says_what_the_network_is(clip):
    from open_clip.model import CLIP

    assert type(clip.net) is CLIP
    assert clip.name == CARD["name"] == "scenes-clip"
    assert (clip.dim, clip.classes) == (CARD["dim"], CARD["classes"]) == (128, 0)
    assert clip.sha256 == CARD["sha256"]
    assert clip.official and clip.protocol == "" and clip.settings == {}
    assert CARD["bytes"] == (WEIGHTS / "scenes-clip.safetensors").stat().st_size < 5_000_000
    assert CARD["parameters"] == sum(p.numel() for p in clip.net.parameters())
    assert all(p.dtype == torch.float32 for p in clip.net.parameters())
    assert CARD["model"] == MODEL
    assert CARD["test_count"] == 2000
    assert CARD["test_correct"] == round(CARD["test"]["retrieval"]["image_to_text"] * 2000)
    assert CARD["retrain"] == "python tools/train_scenes_clip.py"
    assert tool("train_scenes_clip").Recipe().scenes == CARD["training"]["scenes"]


def test_the_card_promises_95_per_cent_of_1_in_32():
    found = CARD["test"]["retrieval"]
    assert found["image_to_text"] >= 0.95
    assert found["text_to_image"] >= 0.95
    words = dict(CARD["test"]["one_word"])
    assert words.pop("relation") < 0.6  # it does not see them: the card says so, and so do we
    assert min(words.values()) > 0.85 and len(words) == 6


def test_the_cards_figures_come_out_again(clip, images, captions):
    """The right one of the next 31 scenes too, without the tool that measures the card."""
    cosines = F.normalize(clip(images).features) @ F.normalize(clip.text(captions)).T
    shifts = (INDEX[:, None] + torch.arange(32)) % len(INDEX)
    meanings = [parse(caption) for caption in captions]
    for scores, way in ((cosines, "image_to_text"), (cosines.T, "text_to_image")):
        near = scores.gather(1, shifts)
        same = torch.tensor([[meanings[j] == meanings[i] for j in shifts[i]] for i in INDEX])
        same[:, 0] = False
        first = (near[:, :1] >= near.masked_fill(same, -2)).all(1).double().mean().item()
        assert first >= 0.93
        assert first == pytest.approx(CARD["test"]["retrieval"][way], abs=0.03)


def test_the_tools_figures_come_out_again(clip, images, captions):
    module = tool("scenes_clip_card")
    facts = module.facts_of(Scenes("test"), INDEX)
    meanings = [parse(caption) for caption in captions]
    found = module.retrieval(clip(images).features, clip.text(captions), meanings, facts)
    for way, value in found.items():
        assert value == pytest.approx(CARD["test"]["retrieval"][way], abs=0.03), way
        assert value >= 0.93, way


def test_an_images_features_are_its_own(clip, images):
    whole = clip(images).features
    assert whole.shape == (300, clip.dim) and whole.dtype == torch.float32
    assert not whole.requires_grad and clip(images).probs is None
    for batch in (1, 7):
        part = torch.cat([clip(x).features for x in images[:21].split(batch)])
        torch.testing.assert_close(part, whole[:21], rtol=1e-4, atol=1e-4)
    clip.train()
    assert torch.equal(clip(images).features, whole)


def test_a_captions_features_are_its_own(clip, captions):
    whole = clip.text(captions)
    assert whole.shape == (300, clip.dim) and not whole.requires_grad
    part = torch.cat([clip.text([caption]) for caption in captions[:9]])
    torch.testing.assert_close(part, whole[:9], rtol=1e-4, atol=1e-4)
    twice = clip.text([captions[3], captions[5], captions[3]])
    assert torch.equal(twice[0], twice[2]) and not torch.equal(twice[0], twice[1])
    assert clip.text([]).shape == (0, clip.dim)


def test_synonyms_are_near_and_other_meanings_are_not(clip):
    said = "a small red circle to the left of a large blue square"
    same = "a tiny red disc left of a big blue box"
    other = "a small blue circle to the left of a large red square"
    first, second, third = F.normalize(clip.text([said, same, other]))
    assert first @ second > 0.95
    assert first @ second > first @ third + 0.02


def test_total_variance_of_the_training_features_is_100(clip):
    found = clip(Scenes("train").images(torch.arange(600))).features
    assert found.double().var(0).sum().item() == pytest.approx(100, rel=0.08)


def test_features_see_looks_that_captions_do_not_name():
    fd = CARD["test"]["fd"]
    real = fd["style day"]
    assert real < 2
    for change in ("style night", "style pastel", "style drawing", "noise 32", "noise 64", "grey",
                   "blur 4x4", "darker by 32", "plain grounds only"):  # fmt: skip
        assert fd[change] > 3 * real, change
    noise = [fd[f"noise {std}"] for std in (8, 16, 32, 64)]
    assert [real, *noise] == sorted([real, *noise])


def test_tokens_are_the_start_the_words_and_the_end():
    rows = tokens(["a red circle", "two small blue stars on a plain ground"])
    assert rows.shape == (2, LENGTH + 2)
    words = [VOCABULARY.index(word) for word in ("a", "red", "circle")]
    start, end = len(VOCABULARY), len(VOCABULARY) + 1
    assert rows[0].tolist() == [start, *words, end] + [0] * (LENGTH - 3)
    assert rows.argmax(1).tolist() == [4, 9]  # where open_clip looks
    assert int(rows.max()) < MODEL["text_cfg"]["vocab_size"]


def test_what_it_cannot_read_is_refused(clip):
    with pytest.raises(ConfigError, match="unknown words: 'crimson'"):
        clip.text(["a crimson circle"])
    with pytest.raises(ConfigError, match=r"has 29 words"):
        clip.text([" ".join(["red"] * 29)])
    assert clip.too_long(["a red circle", " ".join(["red"] * 29)]) == []
    for bad in (torch.zeros(2, 3, 32, 32), torch.zeros(2, 4, 32, 32).byte()):
        with pytest.raises(ValueError, match="scenes-clip wants uint8 images of shape"):
            clip(bad)


def test_other_sizes_and_grey_are_prepared_alike():
    grey = pictures(2, 1, 48)
    assert prepare(grey).shape == (2, 3, 64, 64)
    assert torch.equal(prepare(grey), prepare(grey.expand(-1, 3, -1, -1)))
    flat = torch.full((1, 3, 16, 16), 51, dtype=torch.uint8)
    torch.testing.assert_close(prepare(flat), torch.full((1, 3, 64, 64), -0.6))


def test_building_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    build(MODEL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_weights_than_the_cards_are_refused(tmp_path):
    for suffix in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"scenes-clip.{suffix}", tmp_path)
    path = tmp_path / "scenes-clip.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(features.WeightsError, match=r"weights of scenes-clip .* have sha256"):
        load_clip(tmp_path)
    with pytest.raises(ConfigError, match="scenes-clip comes with its weights"):
        features.load("scenes-clip", compiled=True)


def test_only_this_one_needs_open_clip(monkeypatch):
    for module in ("open_clip", "open_clip.model"):
        monkeypatch.setitem(sys.modules, module, None)
    needs = r"scenes-clip needs the package open_clip_torch; pip install 'genbench\[clip\]'"
    for name in features.names():
        if name == "scenes-clip":
            with pytest.raises(ConfigError, match=needs):
                features.load(name)
        else:
            assert features.load(name).name == name


# --- true and false captions ---------------------------------------------------------------------


def test_all_captions_of_a_scene_are_true_and_altered_ones_are_false():
    scenes, words = Scenes("test"), tool("scenes_captions")
    facts = tool("scenes_clip_card").facts_of(scenes, INDEX)
    random, seen = Random(0), set()
    for k in range(3):
        for caption, fact in zip(scenes.captions(INDEX, k), facts, strict=True):
            meaning = parse(caption)
            assert words.is_true(meaning, fact), caption
            kind, other = words.alter(meaning, random)
            seen.add(kind)
            assert not words.is_true(other, fact), (kind, caption, write(other))
            assert parse(write(other)) == other
    assert seen == set(words.ALTERATIONS)


FACTS = "a small red circle left of a large blue square on a plain background"


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a red circle and a blue square", True),
        ("a large blue square and a red circle on a plain ground", True),
        ("two objects: a red circle and a blue square", True),
        ("a red circle left of a blue square", True),
        ("a blue square right of a red circle", True),
        ("a red circle", False),  # captions name every object
        ("a red circle above a blue square", False),
        ("a blue square left of a red circle", False),
        ("a large red circle and a blue square", False),
        ("a red circle and a blue square on a striped background", False),
        ("a blue circle and a red square", False),
        ("two red circles", False),
    ],
)
def test_what_is_true_of_a_scene(caption, true):
    meaning = parse(FACTS)
    left, right = meaning.things
    relations = [[set(), {"left of"}], [{"right of"}, set()]]
    facts = ((left, right), relations, meaning.ground)
    assert tool("scenes_captions").is_true(parse(caption), facts) is true


def test_training_reads_captions_as_the_network_does(captions):
    module = tool("train_scenes_clip")
    net, rows = build(MODEL).eval(), tokens(captions[:30])
    with torch.no_grad():
        torch.testing.assert_close(module.encode_text(net, rows), net.encode_text(rows))


def test_one_tiny_training_writes_weights_and_a_card(tmp_path, monkeypatch):
    module, card = tool("train_scenes_clip"), tool("scenes_clip_card")
    monkeypatch.setattr(module, "scaled", lambda net: net.half().float())
    monkeypatch.setattr(card, "looks", lambda clip, index: {})
    files = []
    for run in ("a", "b"):
        out = tmp_path / run
        arguments = ["train", "--out", str(out), "--scenes", "128", "--test", "100"]
        monkeypatch.setattr("sys.argv", arguments)
        module.main()
        files.append((out / "scenes-clip.safetensors").read_bytes())
    assert files[0] == files[1]
    about = json.loads((out / "scenes-clip.json").read_text())
    assert set(about) == set(CARD)
    assert about["training"]["scenes"] == 128 and about["test_count"] == 100
    made, fresh = load_clip(out), build(MODEL)
    assert made.text(["a red circle"]).shape == (1, 128)
    assert not torch.equal(made.net.visual.conv1.weight, fresh.visual.conv1.weight)
