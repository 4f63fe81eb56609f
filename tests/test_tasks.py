"""Tasks: what each makes of a dataset, in training and in sampling, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from genbench import api, data, task_names, tasks
from genbench.api import Noise
from genbench.data import Dataset
from genbench.data.dataset import Annotation
from genbench.data.scenes import COLOURS, SHAPES, STYLES, VOCABULARY, Scenes
from genbench.spec import ConfigError

ROWS = torch.tensor([3, 0, 5])


def split(name="scenes@16", which="test"):
    return data.load(name, which)


def noise(n, seed=0):
    return Noise(seed, range(n), stream="task")


def made(**annotations):
    """Six grey images of 4x4, image i of the value i, with these annotations."""
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 4, 4).clone()
    known = {
        name: Annotation(lambda t=tensor: t, words)
        for name, (tensor, words) in annotations.items()
    }
    return Dataset("made", "train", images, None, (), "", {}, known)


def questions(name, dataset):
    return tasks.task(name).questions(dataset)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("class_labels", "did you mean 'class_label'"),
        ("low_res", "write low_res:FACTOR"),
        ("edit", "write edit:EDIT"),
        ("caption:long", "write caption"),
        ("paired:", "write paired:SOURCE"),
    ],
)
def test_names_that_do_not_fit_are_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        tasks.task(name)


def test_every_kind_is_described_and_has_an_example():
    assert list(task_names.describe()) == [
        "unconditional", "class_label[:ATTRIBUTE]", "caption", "paired[:SOURCE]",
        "to_domain[:DOMAIN,DOMAIN]", "layout", "low_res:FACTOR", "edit:EDIT",
    ]  # fmt: skip
    assert tasks.names() == sorted(task_names.FORMS)
    for name in tasks.names():
        cond = tasks.task(f"{name}:2" if name in ("low_res", "edit") else name).cond
        dataset, wanted = tasks.example(cond)
        assert tasks.task(wanted).cond is cond
        asked = questions(wanted, data.load(dataset, "test")).condition(ROWS)
        assert isinstance(asked, cond)


def test_no_condition_needs_no_data():
    asked = tasks.asked("unconditional", lambda split: pytest.fail("loaded"))
    assert asked(torch.arange(10**6)) == api.Unconditional()


def test_classes_are_asked_for_in_turn_and_answered_by_images_of_them():
    digits = split("digits")
    asked = tasks.asked("class_label", lambda which: digits)
    assert torch.equal(asked(torch.arange(995, 1023)).label, torch.arange(995, 1023) % 10)
    found = questions("class_label", digits)
    assert torch.equal(digits.labels[found.rows], torch.arange(len(found)) % 10)
    assert torch.equal(digits.images[found.rows], found.images)
    assert len(found.rows[:340].unique()) == 340  # each image once before any comes again
    x, cond = tasks.task("class_label").training(digits).draw(ROWS, noise(3))
    assert torch.equal(x, digits.images[ROWS]) and torch.equal(cond.label, digits.labels[ROWS])


def test_a_class_without_images_is_refused():
    with pytest.raises(ConfigError, match="needs a dataset with labels"):
        questions("class_label", made())
    flags = torch.tensor([[0, 1]] * 6, dtype=torch.bool)
    faces = made(attributes=(flags, ("Smiling", "Male")))
    with pytest.raises(ConfigError, match="did you mean 'Smiling'"):
        questions("class_label:smiling", faces)
    with pytest.raises(ConfigError, match="holds no image of class 'Smiling'"):
        questions("class_label:Smiling", faces)


def classes(split, *labels, names=("cat", "dog", "owl")):
    """One grey image of 4x4 for each label, image i of the value i."""
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    images = images.expand(-1, 1, 4, 4).clone()
    return Dataset("made", split, images, torch.tensor(labels), names, "", {}, {})


def test_classes_are_asked_for_as_often_as_the_reference_has_them():
    train, test = classes("train", *[0] * 12, *[1] * 2, 2), classes("test", 0, 1, 1, 2, 0)
    wanted = tasks.task("class_label")
    found = wanted.questions(test, train)
    assert found.condition(torch.arange(30)).label.bincount().tolist() == [24, 4, 2]
    for n in range(1, 15):  # any number of them
        asked = found.condition(torch.arange(n)).label.bincount(minlength=3)
        assert (asked - n * torch.tensor([12, 2, 1]) / 15).abs().max() < 1
    assert torch.equal(test.labels[found.rows], found.labels)
    assert found.rows[found.labels == 1].tolist() == [1, 2]
    assert found.rows[found.labels == 0].tolist()[:4] == [0, 4, 0, 4]
    assert wanted.about(test, train) == (
        "classes as often as in train: cat 80.0%, dog 13.3%, owl 6.7%"
    )
    assert wanted.about(test, None) == "each class equally often"
    assert tasks.task("low_res:2").about(test, None) == ""


def test_a_reference_of_many_images_gives_its_shares_to_a_part_in_thousands():
    train = classes("train", *[0] * 39_999, *[1] * 20_001, names=("cat", "dog"))
    found = tasks.task("class_label").questions(classes("test", 0, 1, names=("cat", "dog")), train)
    assert len(found) == 10_000 and abs(found.labels.bincount()[1] - 3334) < 2


def boxed(split, *kinds):
    """Images of one object each, of these kinds."""
    classes = torch.tensor(kinds)[:, None]
    images = torch.zeros(len(kinds), 1, 4, 4, dtype=torch.uint8)
    known = {
        "boxes": Annotation(lambda: torch.zeros(len(kinds), 1, 4)),
        "box_classes": Annotation(lambda: classes, ("cat", "dog")),
        "label_map": Annotation(lambda: images[:, 0] + classes[:, :, None].byte(), ("cat", "dog")),
    }
    return Dataset("made", split, images, None, (), "", {}, known)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("layout", "'test' has boxes of class 'dog' and 'train' has none"),
        ("paired:label_map", "'test' has pixels of class 'dog' and 'train' has none"),
    ],
)
def test_objects_and_pixels_that_training_never_shows_are_refused_by_name(name, said):
    wanted = tasks.task(name)
    wanted.check(boxed("train", 0, 1), boxed("test", 0))
    with pytest.raises(ConfigError, match=said):
        wanted.check(boxed("train", 0, 0), boxed("test", 0, 1))


def domains(split, *domain, names=("day", "night", "fog")):
    images = torch.zeros(len(domain), 1, 4, 4, dtype=torch.uint8)
    known = {"domain": Annotation(lambda: torch.tensor(domain), names)}
    return Dataset("made", split, images, None, (), "", {}, known)


def test_domains_are_two_or_more_and_in_both_splits():
    both = domains("train", 0, 1, 2)
    for name in ("to_domain:day", "to_domain:day,masks"):
        for make in (tasks.task(name).training, tasks.task(name).questions):
            with pytest.raises(ConfigError, match="one domain, day; .* it has day, night, fog"):
                make(both)
    with pytest.raises(ConfigError, match="'train' holds no image of domain 'night'"):
        tasks.task("to_domain:day,night").training(domains("train", 0, 2))
    for lacking, name in ((domains("test", 0, 2), "night"), (domains("test", 1), "day")):
        with pytest.raises(ConfigError, match=f"'test' holds no image of domain {name!r}"):
            tasks.task("to_domain:day,night").questions(lacking)


def test_one_class_is_no_choice():
    alone = classes("train", 0, 0, names=("cat",))
    with pytest.raises(ConfigError, match="two classes or more, and there is only 'cat'"):
        tasks.task("class_label").training(alone)


def test_a_class_that_training_never_shows_is_refused_by_name():
    with pytest.raises(ConfigError, match="'train' holds no image of class 'owl'; add some"):
        tasks.task("class_label").training(classes("train", 0, 1, 1))
    lacking = classes("test", 0, 0, 2)
    with pytest.raises(ConfigError, match="'test' holds no image of class 'dog'"):
        tasks.task("class_label").questions(lacking, classes("train", 0, 1, 2))
    flags = torch.tensor([[1]] * 6, dtype=torch.bool)
    with pytest.raises(ConfigError, match="'train' holds no image of class 'not Smiling'"):
        tasks.task("class_label:Smiling").training(made(attributes=(flags, ("Smiling",))))


def test_an_attribute_is_a_label_of_two_classes():
    flags = torch.tensor([[0], [1], [1], [0], [1], [0]], dtype=torch.bool)
    faces = made(attributes=(flags, ("Smiling",)))
    wanted = tasks.task("class_label:Smiling")
    assert wanted.data_spec(faces).classes == 2
    assert wanted.training(faces).condition(torch.arange(6)).label.tolist() == [0, 1, 1, 0, 1, 0]
    assert wanted.questions(faces).rows.tolist() == [0, 1, 3, 2, 5, 4]


def test_captions_are_those_of_the_images():
    scenes = split()
    cond = questions("caption", scenes).condition(ROWS)
    assert torch.equal(cond.tokens, Scenes("test", 16).tokens(ROWS))
    spec = tasks.task("caption").data_spec(scenes)
    assert (spec.words, spec.length) == (len(VOCABULARY), cond.tokens.shape[1])


def test_pictures_are_paired_as_they_are():
    scenes = split()
    for name in ("outline", "night", "grey"):
        cond = questions(f"paired:{name}", scenes).condition(ROWS)
        known = f"style/{name}" if name in STYLES else name
        raw = scenes.annotation(known)[ROWS]
        torch.testing.assert_close(cond.source, raw / 127.5 - 1)
        assert tasks.task(f"paired:{name}").data_spec(scenes).source == raw.shape[1]


def test_a_label_map_is_one_hot():
    scenes = split()
    cond = questions("paired:label_map", scenes).condition(ROWS)
    assert cond.source.shape == (3, 1 + len(SHAPES), 16, 16)
    assert set(cond.source.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(cond.source.argmax(1), scenes.annotation("label_map")[ROWS].long())
    assert (cond.source.sum(1) == 2 - (1 + len(SHAPES))).all()


def test_boxes_are_no_picture():
    with pytest.raises(ConfigError, match="'boxes' is no picture"):
        questions("paired:boxes", split())
    with pytest.raises(ConfigError, match="dataset 'digits' has no boxes"):
        questions("layout", split("digits"))


def test_a_reduced_image_is_the_mean_of_blocks():
    digits = split("digits")
    cond = questions("low_res:4", digits).condition(ROWS)
    blocks = digits.images[ROWS].double().unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
    torch.testing.assert_close(
        ((cond.image + 1) * 127.5).double(), (blocks + 0.5).floor(), atol=1e-4, rtol=0
    )
    with pytest.raises(ConfigError, match="'3' does not divide 8 pixels; valid: 2, 4"):
        questions("low_res:3", digits)


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ([0, 0, 0, 1, 1, 2], [0, 3, 1, 5, 4, 2]),
        ([0, 0, 2, 2, 2, 2], [2, 0, 3, 4, 1, 5]),
        ([0, 0, 1, 1, 2, 2], [0, 2, 4, 1, 3, 5]),
        ([0, 0, 0, 1, 2, 1], range(6)),
        ([1] * 6, range(6)),
    ],
)
def test_of_a_split_that_is_sorted_by_class_the_classes_are_spread(labels, order):
    sorted_by_class = replace(made(), labels=torch.tensor(labels), classes=tuple("abc"))
    found = questions("low_res:2", sorted_by_class)
    assert found.images[:, 0, 0, 0].tolist() == found.rows.tolist() == list(order)
    asked = found.condition(torch.arange(6)).image
    assert torch.equal(asked[:, 0, 0, 0], torch.tensor(list(order)) / 127.5 - 1)
    trained = tasks.task("low_res:2").training(sorted_by_class)
    assert trained.rows.tolist() == list(range(6))


def test_layouts_are_boxes_and_classes():
    scenes = split()
    cond = questions("layout", scenes).condition(ROWS)
    boxes, classes = Scenes("test", 16).boxes(ROWS)
    assert torch.equal(cond.boxes, boxes) and torch.equal(cond.classes, classes)
    spec = tasks.task("layout").data_spec(scenes)
    assert (spec.kinds, spec.objects) == (len(SHAPES), 3)


def test_an_edit_is_a_share_of_the_way():
    scenes = split()
    found = questions("edit:night", scenes)
    cond = found.condition(torch.arange(10))
    assert cond.amount.tolist() == [0, 0.25, 0.5, 0.75, 1] * 2
    before, after = scenes.images.double(), scenes.annotation("style/night").double()
    for i in range(5):
        wanted = (before[i] + i / 4 * (after[i] - before[i]) + 0.5).floor()
        assert (found.images[i].double() - wanted).abs().max() <= 1
    assert torch.equal(found.images[0], scenes.images[0])
    assert torch.equal(found.images[4], scenes.annotation("style/night")[4])
    x, drawn = tasks.task("edit:night").training(scenes).draw(ROWS, noise(3))
    assert len(drawn.amount.unique()) == 3 and x.shape == (3, 3, 16, 16)


def test_an_edit_of_a_colour_changes_the_largest_object_alone():
    scenes, source = split("scenes@32"), Scenes("test", 32)
    found = questions("edit:blue", scenes)
    rows = torch.arange(40)
    scene, masks = source.describe(rows), scenes.annotation("masks")[rows]
    changed = (scenes.annotation("edit/blue")[rows] != scenes.images[rows]).any(1)
    main = masks[rows, scene.main]
    before = scene.colour[rows, scene.main]
    assert not changed[before == COLOURS.index("blue")].any()
    other = before != COLOURS.index("blue")
    inside = (changed & main).flatten(1).sum(1) / main.flatten(1).sum(1)
    assert (inside[other] > 0.9).all()
    # beyond the mask: the edge's mixed pixels, one around
    near = torch.nn.functional.max_pool2d(main[:, None].float(), 3, 1, 1)[:, 0] > 0
    assert not (changed & ~near).any()
    assert torch.equal(found.images[4], scenes.annotation("edit/blue")[4])
    with pytest.raises(ConfigError, match="no edit/mauve"):
        questions("edit:mauve", scenes)


def test_domains_in_training_are_unpaired():
    scenes = split()
    found = tasks.task("to_domain:day,night").training(scenes)
    rows = torch.arange(200)
    x, cond = found.draw(rows, noise(200))
    assert torch.equal(cond.target, rows % 2) and torch.equal(cond.origin, 1 - cond.target)
    night = scenes.annotation("style/night")
    assert torch.equal(x[1::2], night[rows[1::2]]) and torch.equal(
        x[::2], scenes.images[::2][:100]
    )
    sources = ((cond.source + 1) * 127.5).round().byte()
    places = {t.numpy().tobytes(): i for i, t in enumerate(scenes.images[::2])}
    seen = [
        places[s.numpy().tobytes()] for s, o in zip(sources, cond.origin, strict=True) if o == 0
    ]
    assert len(set(seen)) > 80  # drawn from the whole split
    again = found.draw(rows, noise(200))[1]
    assert torch.equal(again.source, cond.source)
    assert not torch.equal(found.draw(rows, noise(200, seed=1))[1].source, cond.source)


def test_domains_in_sampling_start_from_the_first_and_know_the_answer():
    scenes = split()
    found = questions("to_domain:day,night,pastel,masks", scenes)
    cond = found.condition(torch.arange(4))
    assert cond.origin.tolist() == [0] * 4 and cond.target.tolist() == [1, 2, 1, 2]
    torch.testing.assert_close(cond.source, scenes.images[:4] / 127.5 - 1)
    assert torch.equal(found.images[0], scenes.annotation("style/night")[0])
    assert torch.equal(found.images[1], scenes.annotation("style/pastel")[1])
    assert torch.equal(cond.masks, scenes.annotation("masks")[:4])
    assert found.aligned and cond[1:2].masks.shape[0] == 1


def test_domains_of_folders():
    photos = made(domain=(torch.tensor([0, 0, 0, 1, 1, 2]), ("A", "B", "C")))
    found = questions("to_domain:B,A", photos)
    assert not found.aligned
    assert found.rows.tolist() == [3, 4]
    assert found.condition(torch.arange(2)).target.tolist() == [1, 1]
    assert found.images[:, 0, 0, 0].tolist() == [0, 1]
    _, cond = tasks.task("to_domain").training(photos).draw(torch.arange(6), noise(6))
    assert (cond.origin != cond.target).all()
    values = ((cond.source[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert torch.equal(torch.tensor([0, 0, 0, 1, 1, 2])[values], cond.origin)
    with pytest.raises(ConfigError, match="no domain 'D'"):
        questions("to_domain:A,D", photos)
    with pytest.raises(ConfigError, match="named twice"):
        questions("to_domain:A,A", photos)
    alone = made(domain=(torch.zeros(6, dtype=torch.int64), ("A", "B")))
    with pytest.raises(ConfigError, match="holds no image of domain 'B'"):
        tasks.task("to_domain").training(alone)


def test_more_samples_than_questions_are_refused():
    asked = tasks.asked("low_res:2", lambda which: split("digits"))
    assert len(asked(torch.arange(360)).image) == 360
    with pytest.raises(ConfigError, match=r"has 360 questions.*set n=360"):
        asked(torch.arange(361))


def test_ids_of_references_tell_what_was_changed():
    assert tasks.task("paired:outline").reference("digits", "train") == "digits:train"
    named = tasks.task("to_domain:day,night").reference("scenes@32", "train")
    assert named == "scenes@32:train[to_domain:day,night]"
