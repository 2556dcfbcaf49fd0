"""Ids of many names: those of name_id, whether one by one or side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.nameids import begin, name_ids
from shared.core.ids import name_id


@pytest.mark.parametrize("count", [1, 3, 19, 20, 21, 200])
def test_each_name_has_the_id_of_its_kind(count: int) -> None:
    names = [f"order {n} ğ" for n in range(count)]
    rest = [name.encode() for name in names]
    feedback, event = name_ids((begin("feedback", "shop"), rest), (begin("external", "shop", "web"), rest))
    assert feedback == [str(name_id("feedback", "shop", name)).encode() for name in names]
    assert event == [str(name_id("external", "shop", "web", name)).encode() for name in names]


@given(st.lists(st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"])), min_size=1, max_size=60))
def test_whatever_the_names_are(names: list[str]) -> None:
    [found] = name_ids((begin("customer", "shop"), [name.encode() for name in names]))
    assert found == [str(name_id("customer", "shop", name)).encode() for name in names]
