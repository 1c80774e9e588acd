"""What travels with the gradients: sums of the loss terms over clips and ranks, and the report made of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flux4d.supervision.losses.total import TERMS, Losses
from tests.training.monitor.test_display import report
from training.optimisation.step import Sums, means

VALUES = st.one_of(st.none(), st.floats(0.0, 8.0, width=16))
CLIP = st.lists(st.fixed_dictionaries({name: VALUES for name in TERMS}), min_size=1, max_size=3)
"""Terms of each view of a clip."""


def losses(terms: dict[str, float | None]) -> Losses:
    tensors = {name: None if value is None else torch.tensor(value) for name, value in terms.items()}
    return Losses(total=torch.tensor(sum((value for value in terms.values() if value is not None), 0.0)), terms=tensors)


@given(st.lists(CLIP, min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 3))
def test_a_term_is_the_mean_over_the_clips_that_have_it(
    clips: list[list[dict[str, float | None]]], first: int, broken: int
) -> None:
    ranks = [Sums(torch.device("cpu")), Sums(torch.device("cpu"))]
    for number, clip in enumerate(clips):
        ranks[number >= first].add([losses(view) for view in clip], torch.tensor(20.0), 100)
    for _ in range(broken):
        ranks[0].add_broken()
    summed = ranks[0].vector(False) + ranks[1].vector(True)
    found = means(summed.tolist())
    assert list(found.terms) == list(TERMS)
    for name, value in found.terms.items():
        own = [[view[name] for view in clip if view[name] is not None] for clip in clips]
        per_clip = [sum(views) / len(views) for views in own if views]
        if per_clip:
            assert value == pytest.approx(sum(per_clip) / len(per_clip), rel=1e-5)
        else:
            assert value is None
    assert (found.clips, found.broken, found.stop) == (len(clips) + broken, broken, True)
    assert summed[Sums.CLIPS] == found.clips


def test_without_a_clip_nothing_is_made_up() -> None:
    found = means(Sums(torch.device("cpu")).vector(False).tolist())
    assert math.isnan(found.loss)
    assert set(found.terms.values()) == {None}


def test_terms_are_columns_of_a_row_and_may_not_have_the_name_of_another() -> None:
    row = report(7, depth=None).row()
    assert list(row)[:9] == ["step", "epoch", "clips", "loss", "l1", "ssim", "depth", "velocity", "psnr"]
    assert (row["l1"], row["depth"]) == (0.05, None)
    with pytest.raises(AssertionError, match="name of a column"):
        replace(report(7), terms={"psnr": 1.0}).row()
