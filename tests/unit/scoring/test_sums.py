"""Sums of many rows at a time equal sums of one row after the other; the index finds what a dictionary finds."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.domain.answers import MICRO, Question
from services.scoring.domain.counting import by_day, cells_of
from services.scoring.domain.index import AnswerIndex
from services.scoring.repository.days import DayRow, pack, unpack

QUESTIONS = [
    Question("nps", "nps", 0, 10),
    Question("csat", "top_two", 1, 5),
    Question("ces", "mean", 1, 7),
    Question("rating", "mean", -1e9, 1e9),
]
MEASURES = [0, 1, 2, 3]
SERIES = {origin: [origin, 10 + origin % 2, 99][: 1 + origin % 3] for origin in range(5)}

values = st.one_of(st.integers(0, 10), st.floats(-1e9, 1e9), st.sampled_from([0.1, 4.35, -1e9, 1e9]))
rows = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(-1, 3), st.integers(-50, 5_000_000), values, st.sampled_from([1, 1, 1, -1])
    ),
    max_size=40,
)


@given(rows)
def test_sums_by_day_and_hour(given_rows: list[tuple[int, int, int, float, int]]) -> None:
    columns = list(zip(*given_rows, strict=True)) or [()] * 5
    origin, question, hour, sign = (np.array(columns[place], dtype=np.int64) for place in (0, 1, 2, 4))
    value = np.array(columns[3], dtype=np.float64)
    found = by_day(
        cells_of(origin, question, hour, value, sign, QUESTIONS),
        lambda origin, question: SERIES[origin],
        MEASURES,
        {2, 3},
    )
    wanted: dict[tuple[int, int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for one_origin, one_question, one_hour, one_value, one_sign in given_rows:
        if one_question < 0:
            continue
        top, bottom = QUESTIONS[one_question].bands()
        micro = round(one_value * MICRO) if one_question > 1 else 0
        for series in SERIES[one_origin]:
            sums = wanted[series, one_question, *divmod(one_hour, 24)]
            for place, amount in enumerate((1, one_value >= top, one_value <= bottom, micro, micro * micro)):
                sums[place] += one_sign * amount
    got = {
        (one.series, one.measure, one.day, at): [
            *one.counts[at].tolist(),
            *(one.sums[at] if one.sums is not None else (0, 0)),
        ]
        for one in found
        for at in range(24)
    }
    assert {key: sums for key, sums in got.items() if any(sums)} == {k: s for k, s in wanted.items() if any(s)}
    for one in found:
        row = DayRow(one.counts, one.sums)
        again = unpack(pack(row))
        assert (again.counts == row.counts).all()
        assert row.sums is None or (again.sums == row.sums).all()


@given(st.lists(st.lists(st.integers(1, 60), max_size=30), max_size=12), st.data())
def test_the_index_finds_what_was_added(batches: list[list[int]], data: st.DataObject) -> None:
    index, known, row = AnswerIndex(), defaultdict[int, set[int]](set), 0
    for batch in batches:
        hashes = np.sort(np.array(batch, dtype=np.uint64))
        index.add(hashes, np.arange(row, row + len(batch)))
        for place, one in enumerate(hashes.tolist()):
            known[one].add(row + place)
        row += len(batch)
        if row and data.draw(st.booleans()):
            one = data.draw(st.sampled_from(sorted(key for key, held in known.items() if held)))
            old = min(known[one])
            index.move(iter([(one, old, row)]))
            known[one] = known[one] - {old} | {row}
            row += 1
    asked = np.arange(0, 62, dtype=np.uint64)
    found = defaultdict[int, set[int]](set)
    for position, place in zip(*index.find(asked), strict=True):
        found[int(asked[position])].add(int(place))
    assert found == {key: held for key, held in known.items() if held}
    assert len(index) == sum(map(len, batches))
