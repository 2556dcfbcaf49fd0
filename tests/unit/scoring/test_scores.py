"""Scores from sums."""

import pytest

from services.scoring.domain.answers import MICRO
from services.scoring.domain.scores import NOTHING, Tally, leading_measure, score_of
from shared.contracts.examples import examples
from shared.contracts.feedback_received import Metric
from shared.contracts.score_updated import ScoreUpdatedV1


def mean_of(*values: float) -> Tally:
    micros = [round(value * MICRO) for value in values]
    return Tally(len(values), 0, 0, sum(micros), sum(micro * micro for micro in micros))


def test_the_published_example_is_what_we_compute() -> None:
    example = next(e.data for e in examples(ScoreUpdatedV1) if e.data.n == 100)
    score = score_of("nps", {"nps": Tally(100, 50, 20)}, {"nps": Tally(117, 68, 20)})
    assert (score.value, score.promoters, score.passives, score.detractors) == (30.0, 50, 30, 20)
    assert score.interval == example.interval
    assert score.reportable


def test_passives_count_in_n() -> None:
    assert score_of("nps", {"nps": Tally(4, 1, 0)}, None).value == 25.0


def test_without_answers_there_is_no_value() -> None:
    score = score_of("nps", {}, {"nps": Tally(4, 0, 2)})
    assert (score.value, score.n, score.interval, score.reportable) == (None, 0, None, False)
    assert score.previous is not None
    assert (score.previous.value, score.previous.n, score.previous.change) == (-50.0, 4, None)


def test_a_response_rate_is_completed_over_delivered_and_its_change_is_not_tested() -> None:
    """domain.md: completed ÷ delivered invitations. 3 of 8 with z = 1.96: (3 + 1.92) ÷ (8 + 3.84) ± 27.5."""
    sums = {"response_rate": Tally(8, 3), "invitation_bounced": Tally(2), "invitation_suppressed": Tally(1)}
    score = score_of("response_rate", sums, {"response_rate": Tally(500, 400)})
    assert (score.value, score.n, score.promoters, score.formula) == (37.5, 8, None, "top_two")
    assert score.interval is not None
    assert (round(score.interval.low, 1), round(score.interval.high, 1)) == (13.5, 69.6)
    assert score.invitations is not None
    assert score.invitations.model_dump() == {"delivered": 8, "completed": 3, "bounced": 2, "suppressed": 1}
    assert score.previous is not None
    assert (score.previous.change, score.previous.p_value) == (-42.5, None)


def test_csat_is_a_share_in_percent() -> None:
    score = score_of("csat", {"top_two": Tally(64, 56)}, {"top_two": Tally(50, 50)})
    assert (score.value, score.n, score.promoters, score.formula) == (87.5, 64, None, "top_two")
    assert score.interval is not None
    assert (score.interval.low, score.interval.high) == (
        pytest.approx(76.9686, abs=1e-3),
        pytest.approx(93.7846, abs=1e-3),
    )
    assert score.previous is not None
    assert score.previous.change == -12.5
    assert score.previous.p_value is not None
    assert score.previous.p_value < 0.05


def test_ces_is_a_mean_with_a_t_interval() -> None:
    score = score_of("ces", {"mean:1:7": mean_of(5, 6, 7, 4, 6.5)}, {"mean:1:7": mean_of(1, 2, 1)})
    assert score.value == 5.7
    assert score.interval is not None
    assert score.interval.method == "t"
    assert (score.interval.low, score.interval.high) == (
        4.2048,
        7.0,
    )  # 5.7 ± 2.7764 · √(1.45 / 5), clipped to the scale
    assert score.previous is not None
    assert score.previous.p_value == pytest.approx(0.000611, abs=2e-4)


def test_a_mean_of_one_answer_has_no_interval() -> None:
    score = score_of("rating", {"mean:1:5": mean_of(4)}, {"mean:1:5": mean_of(5)})
    assert (score.value, score.interval) == (4.0, None)
    assert score.previous is not None
    assert (score.previous.change, score.previous.p_value) == (-1.0, None)


def test_the_variance_does_not_cancel() -> None:
    tally = mean_of(1e9, 1e9 + 0.25, 1e9 + 0.5)
    assert tally.variance == pytest.approx(0.0625, rel=1e-12)


@pytest.mark.parametrize(("n", "reportable"), [(29, False), (30, True)])
def test_minimum_n(n: int, reportable: bool) -> None:
    assert score_of("nps", {"nps": Tally(n, n, 0)}, None).reportable is reportable


@pytest.mark.parametrize(
    ("metric", "candidates", "expected"),
    [
        ("ces", ({"mean:1:7": Tally(3), "top_two": Tally(5)}, {}), "top_two"),
        ("ces", ({"mean:1:7": Tally(5), "top_two": Tally(5)}, {}), "mean:1:7"),
        ("rating", ({"mean:1:5": Tally(5), "mean:1:10": Tally(5)}, {}), "mean:1:10"),
        ("csat", ({}, {"mean:1:5": Tally(1)}), "mean:1:5"),
        ("csat", ({"top_two": NOTHING}, {}), "top_two"),
    ],
)
def test_what_is_on_different_scales_is_never_mixed(
    metric: Metric, candidates: tuple[dict[str, Tally], ...], expected: str
) -> None:
    assert leading_measure(metric, *candidates) == expected
