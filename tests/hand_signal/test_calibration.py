import numpy as np
import pytest
from scipy.special import log_softmax

from common.console import InputError
from common.logits import Logits
from hand_signal.calibration import calibrate, fit_temperature, read_temperature, scale


def rows(n, sharpness, seed, first=0):
    """Labels drawn from softmax(z), logits sharpness * z: the temperature that is right is the sharpness."""
    random = np.random.default_rng(seed)
    z = random.normal(0, 1.5, (n, 4))
    probabilities = np.exp(log_softmax(z, axis=1))
    labels = [random.choice(4, p=p) for p in probabilities]
    return Logits([str(first + i) for i in range(n)], sharpness * z, labels, list("abcd"))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_over_and_underconfidence(sharpness):
    assert fit_temperature([rows(2000, sharpness, 0), rows(2000, sharpness, 1)]) == pytest.approx(sharpness, rel=0.1)


@pytest.mark.parametrize("gap", [0.5, 4.0, 40.0])
def test_where_all_rows_are_right_the_probability_of_an_error_stays_what_so_many_rows_can_say(gap):
    labels = np.arange(100) % 4
    part = Logits([str(i) for i in range(100)], gap * np.eye(4)[labels], labels, list("abcd"))
    right = scale(part, fit_temperature([part])).probabilities().max(axis=1)
    assert right == pytest.approx(1 - 1 / 102, abs=2e-3)


@pytest.mark.parametrize("content", ["{}", '{"temperature": "1"}', '{"temperature": 0}', '{"temperature": NaN}'])
def test_a_damaged_calibration_is_named(content, tmp_path):
    assert read_temperature(tmp_path) == 1.0
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(InputError, match="calibration.json: temperature is"):
        read_temperature(tmp_path)


def test_rows_without_a_label_do_not_count():
    known = rows(300, 3.0, 0)
    unknown = Logits(["u"], [[90.0, 0, 0, 0]], [-1], known.label_names)
    assert fit_temperature([known, unknown]) == fit_temperature([known])
    assert fit_temperature([unknown]) == 1.0


def test_a_fold_is_measured_at_the_temperature_of_the_other_folds():
    folds = [rows(400, sharpness, seed, 400 * seed) for seed, sharpness in enumerate((1.0, 1.0, 6.0))]
    found = calibrate(folds)
    assert found["fold_temperatures"][2] == fit_temperature(folds[:2]) == pytest.approx(1.0, rel=0.15)
    assert found["temperature"] == fit_temperature(folds)
    at_others = [scale(part, t) for part, t in zip(folds, found["fold_temperatures"], strict=True)]
    losses = [-log_softmax(part.logits.astype(float), axis=1)[np.arange(400), part.labels] for part in at_others]
    assert found["log_loss_cross_fitted"] == pytest.approx(np.concatenate(losses).mean(), abs=1e-6)
    best = [scale(part, found["temperature"]) for part in folds]
    in_sample = np.concatenate(
        [-log_softmax(p.logits.astype(float), axis=1)[np.arange(400), p.labels] for p in best]
    ).mean()
    assert (
        in_sample < found["log_loss_cross_fitted"]
    )  # fitted on the rows it is measured on, it looks better than it is


def test_calibration_does_not_change_the_order_of_the_classes():
    part = rows(50, 2.0, 0)
    assert (scale(part, 3.7).logits.argmax(1) == part.logits.argmax(1)).all()
