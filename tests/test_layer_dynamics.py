from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import member, recordings

from analysis.layer_dynamics import (
    at_step,
    first_last_ratio,
    freezes,
    growth,
    main_path,
    travelled,
)


def layers_of(network: str, rate: float = 1.2) -> pd.DataFrame:
    return recordings(member(network), growth=rate)


@pytest.mark.parametrize("rate", [1.2112, 1.0, 0.8])
def test_growth_is_recovered_in_every_stage(rate: float) -> None:
    fits = growth(layers_of("plain-20", rate))
    assert list(fits["stage"]) == [1, 2, 3]
    assert list(fits["layers"]) == [6, 6, 6]
    assert fits["growth"].to_numpy() == pytest.approx(rate)


def test_the_fitted_line_passes_through_exact_values() -> None:
    fit = growth(layers_of("plain-20", 1.3)).iloc[0]
    assert np.exp(fit["intercept"]) * fit["growth"] ** -5 == pytest.approx(1.3**15)


def test_projections_stem_and_classifier_are_not_fitted() -> None:
    layers = layers_of("resnet-20-B")
    outside = layers["name"].str.contains("shortcut|stem|head")
    assert set(layers.loc[layers["name"].str.contains("shortcut"), "stage"]) == {2, 3}
    layers.loc[outside, "value"] = 1e9
    assert growth(layers)["growth"].to_numpy() == pytest.approx(1.2)


def test_stages_with_two_layers_have_no_growth() -> None:
    assert growth(layers_of("plain-8")).empty


def test_a_stage_with_a_vanished_gradient_has_no_growth() -> None:
    layers = layers_of("plain-20")
    layers.loc[layers["name"] == "stage2.block1.conv1", "value"] = 0.0
    assert list(growth(layers)["stage"]) == [1, 3]


def test_growth_of_a_step_without_recording_is_empty() -> None:
    assert growth(layers_of("plain-20"), step=3).empty


def test_members_are_fitted_apart() -> None:
    both = pd.concat([layers_of("plain-20", 1.2), layers_of("resnet-20", 1.05)])
    fits = growth(both).groupby("network")["growth"].mean()
    assert fits["plain-20"] == pytest.approx(1.2)
    assert fits["resnet-20"] == pytest.approx(1.05)


def test_first_over_last_convolution_spans_all_but_one_layer() -> None:
    ratios = first_last_ratio(layers_of("resnet-20-B", 1.2))
    assert ratios.loc[ratios["step"] == 0, "ratio"].item() == pytest.approx(1.2**18)
    assert ratios["step"].is_unique


def test_at_step_defaults_to_the_last_recording() -> None:
    layers = layers_of("plain-8")
    assert set(at_step(layers, "weight_norm")["step"]) == {159}
    assert set(at_step(layers, "weight_norm", 0)["step"]) == {0}


def test_main_path_has_one_row_a_weighted_layer() -> None:
    start = at_step(layers_of("resnet-20-C"), "weight_norm", 0)
    assert len(start) == 20 + 9
    assert list(main_path(start)["layer"]) == list(range(1, 21))


def updates(values: dict[int, float]) -> pd.DataFrame:
    rows = [
        {"run": "r", "network": "plain-20", "step": step, "quantity": "relative_update",
         "layer": 1, "name": "stem.conv", "stage": 0, "block": 0, "value": value}
        for step, value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_layer_freezes_at_its_first_step_below_the_threshold() -> None:
    row = freezes(updates({0: 17.0, 8: 1e-3, 16: 5e-7, 25: 6e-7, 100: 2e-5, 200: 1e-8})).iloc[0]
    assert row["freeze_step"] == 16
    assert row["lowest"] == 1e-8
    assert row["frozen_share"] == pytest.approx(3 / 4)


def test_a_layer_that_keeps_learning_never_freezes() -> None:
    row = freezes(updates({0: 1e-2, 16: 1e-6, 100: 1e-3})).iloc[0]
    assert pd.isna(row["freeze_step"])
    assert row["frozen_share"] == 0.0


def test_threshold_and_horizon_are_the_callers() -> None:
    frame = updates({0: 1.0, 16: 1e-4, 1000: 1e-8})
    assert freezes(frame, threshold=1e-3).iloc[0]["freeze_step"] == 16
    assert pd.isna(freezes(frame, until=100).iloc[0]["freeze_step"])
    assert freezes(frame).iloc[0]["freeze_step"] == 1000


def test_only_the_stem_of_the_deep_plain_net_freezes() -> None:
    table = freezes(pd.concat([layers_of("plain-56"), layers_of("resnet-56", 1.05)]))
    frozen = table.dropna(subset="freeze_step")
    assert list(zip(frozen["network"], frozen["name"], strict=True)) == [("plain-56", "stem.conv")]
    assert frozen["freeze_step"].item() == 16


def turns(values: dict[int, float]) -> pd.DataFrame:
    return updates(values).assign(quantity="update_angle")


def test_the_angle_travelled_is_the_trapezoid_over_recorded_steps() -> None:
    row = travelled(turns({0: 9.0, 16: 0.3, 18: 0.1, 28: 0.0, 100: 0.02}), 16).iloc[0]
    assert row["angle"] == pytest.approx(2 * 0.2 + 10 * 0.05 + 72 * 0.01)
    assert (row["start"], row["end"]) == (16, 100)


def test_rows_of_any_order_and_a_first_step_between_recordings() -> None:
    frame = turns({100: 0.02, 16: 0.3, 28: 0.0})
    row = travelled(frame, 17).iloc[0]
    assert (row["start"], row["angle"]) == (28, pytest.approx(0.72))


def test_one_recording_is_no_path() -> None:
    assert travelled(turns({0: 1.0, 16: 0.3}), 16).empty
    assert travelled(updates({16: 0.3, 17: 0.3}), 16).empty


def test_no_recordings_give_empty_tables() -> None:
    empty = layers_of("plain-8").iloc[:0]
    assert growth(empty).empty
    assert freezes(empty).empty
    assert first_last_ratio(empty).empty
    assert travelled(empty, 0).empty
