"""Answers beside images: closed forms, and scenes in the right order."""

import numpy as np
import pytest
import torch
from scene_answers import INDEX, OTHERS, SCENES, N, answers, floats

from genbench import api, metrics
from genbench.metrics import FeatureSet
from genbench.spec import ConfigError
from genbench.stats import mean_interval

DAY = SCENES.images(INDEX)


def flat(*values, size=4, channels=3):
    """One image of each value, uint8 (n, C, size, size)."""
    levels = torch.tensor(values, dtype=torch.uint8)[:, None, None, None]
    return levels.expand(-1, channels, size, size).clone()


def check_interval(found, values, method):
    mean, stderr, ci95 = mean_interval(values)
    assert found.value == pytest.approx(mean, rel=1e-6)
    assert found.stderr == pytest.approx(stderr, rel=1e-5)
    assert found.ci95 == pytest.approx(ci95, rel=1e-5)
    assert found.method == method


# --- features ------------------------------------------------------------------------------------


def test_feature_distance_is_euclidean_and_of_pairs():
    truth = np.zeros((3, 2))
    made = np.array([[3.0, 4.0], [0, 0], [0, 1]])
    sides = {"made": FeatureSet.of(made), "truth": FeatureSet.of(truth)}
    images = flat(1, 2, 3)
    cond = api.Paired(floats(images))
    found = metrics.find("feature_distance")(answers(images, cond, features=sides.__getitem__))
    check_interval(found, [5.0, 0.0, 1.0], "Student, 3 samples")
    assert found.n == 3


def test_feature_distance_is_least_for_the_right_answers():
    def distance(made):
        pixels = {"made": made, "truth": DAY}

        def looked(side):
            return FeatureSet.of(pixels[side].flatten(1).double())

        cond = api.Paired(floats(SCENES.outline(INDEX)))
        return metrics.find("feature_distance")(answers(made, cond, DAY, features=looked)).value

    blurred = SCENES.low_res(INDEX, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert 0 == distance(DAY) < distance(blurred) < distance(DAY[OTHERS])


# --- several answers -----------------------------------------------------------------------------


def test_diversity_is_over_all_pairs_of_answers():
    made = flat(0, 100, 7)
    again = torch.stack((flat(255, 100), flat(51, 100)), 1)  # of the first two questions
    found = metrics.find("diversity")(answers(made, api.Paired(floats(made)), again=again))
    # question 0: |0 - 255|, |0 - 51|, |255 - 51|; question 1: none
    check_interval(found, [(255 + 51 + 204) / 3 / 255, 0.0], "Student, 2 questions")
    assert found.n == 3


def test_one_question_has_no_interval():
    made = flat(0)
    asked = answers(made, api.Paired(floats(made)), again=flat(255)[:, None])
    found = metrics.find("diversity")(asked)
    assert (found.value, found.ci95, found.method) == (1.0, None, "one of questions, no interval")


# --- smaller images ------------------------------------------------------------------------------


def low_res(made, given):
    truth = torch.zeros_like(made)  # which it does not look at
    return metrics.find("low_res_error")(answers(made, api.LowRes(floats(given)), truth))


def test_low_res_error_reduces_as_the_question_was():
    made = torch.tensor([[0, 1, 255, 255], [2, 3, 255, 254]], dtype=torch.uint8)[None, None]
    made = made.repeat(2, 1, 2, 1)
    # means of blocks, 1.5 and 254.75, are rounded up
    given = torch.tensor([[2, 255], [2, 255]], dtype=torch.uint8)[None, None].repeat(2, 1, 1, 1)
    assert low_res(made, given).value == 0
    given[1, 0, 0, 0] = 53
    check_interval(low_res(made, given), [0.0, 51 / 255 / 4], "Student, 2 samples")


def test_low_res_error_is_nothing_for_the_right_answer_and_for_repeated_pixels():
    given = SCENES.low_res(INDEX, 4)
    repeated = given.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert low_res(DAY, given).value == 0
    assert low_res(repeated, given).value == 0
    assert low_res(DAY[OTHERS], given).value > 0.05


def test_low_res_error_refuses_sizes_that_do_not_fit():
    with pytest.raises(ConfigError, match="samples of 4 pixels are no multiple of the given 3"):
        low_res(flat(1, 2), flat(1, 2, size=3))


# --- the way back --------------------------------------------------------------------------------


def test_cycle_error_is_a_share_of_the_full_range():
    source, back = flat(0, 10), flat(255, 61)
    there = torch.ones(2, dtype=torch.int64)
    cond = api.ToDomain(floats(source), 0 * there, there)
    found = metrics.find("cycle_error")(answers(flat(5, 5), cond, back=back))
    check_interval(found, [1.0, 51 / 255], "Student, 2 samples")
    same = metrics.find("cycle_error")(answers(flat(5, 5), cond, back=source))
    assert same.value == 0


# --- edits ---------------------------------------------------------------------------------------


def edit(name, made, truth, source, amount=None):
    amount = torch.ones(len(made)) if amount is None else torch.as_tensor(amount)
    return metrics.find(name)(answers(made, api.Edit(floats(source), amount), truth))


def test_reconstruction_is_over_samples_of_amount_0():
    source = flat(10, 20, 30)
    made = flat(10, 71, 255)
    found = edit("edit_reconstruction", made, source, source, [0.0, 0.0, 0.5])
    check_interval(found, [0.0, 51 / 255], "Student, 2 samples of amount 0")
    assert found.n == 3
    with pytest.raises(ConfigError, match="none of the 3 questions asks for amount 0; leave"):
        edit("edit_reconstruction", made, source, source, [0.1, 0.2, 0.5])


@pytest.mark.parametrize(
    ("made", "share"), [(20, 0.0), (60, 1.0), (40, 0.5), (80, 0.5), (100, 0.0), (0, 0.0), (200, 0)]
)
def test_success_is_the_share_of_the_change_that_was_made(made, share):
    found = edit("edit_success", flat(made, 9), flat(60, 9), flat(20, 9))
    assert found.value == pytest.approx(share, abs=1e-6)
    assert found.method.startswith("one of samples that should change")


def test_success_looks_along_the_change_alone():
    source = flat(20, 20)
    truth, made = source.clone(), source.clone()
    truth[:, 0] = 60
    made[:, 0], made[:, 1] = 60, 250  # another channel too
    assert edit("edit_success", made, truth, source).value == pytest.approx(1)
    with pytest.raises(ConfigError, match="none of the 2 questions changes anything"):
        edit("edit_success", made, source, source)


def test_kept_is_over_pixels_that_should_stay():
    source = flat(20, 20, 20)
    truth = source.clone()
    truth[:2, 0, :2] = 60  # half of the pixels change, in one channel
    truth[2] = 60  # all do
    made = truth.clone()
    made[:2, :, :2] = 99  # which is of no matter here
    made[0, 0, 2] = 71  # a quarter of the pixels, a third of the channels, half of what stays
    found = edit("edit_kept", made, truth, source)
    values = [1 - 51 / 255 / 2 / 3, 1.0]
    check_interval(found, values, "Student, 2 samples that should stay somewhere")
    with pytest.raises(ConfigError, match="leaves any pixel as it is"):
        edit("edit_kept", made[2:], truth[2:], source[2:])


def test_edits_of_scenes_come_in_the_right_order():
    night = SCENES.styled(INDEX, "night")
    amounts = torch.arange(N) % 5 / 4
    part = amounts[:, None, None, None]
    truth = (DAY.float() + part * (night.float() - DAY.float())).round().to(torch.uint8)

    def values(made):
        names = ("edit_success", "edit_kept", "edit_reconstruction")
        return [edit(name, made, truth, DAY, amounts).value for name in names]

    right, copy, other = values(truth), values(DAY), values(truth[OTHERS])
    assert right == pytest.approx([1, 1, 0], abs=1e-6)
    assert copy == pytest.approx([0, 1, 0], abs=1e-6)
    assert other[0] < 0.8
    assert other[1] < 0.9
    assert other[2] > 0.1
