"""Whatever people paste in: never an exception, only closed-list words, numbers in range, the same answer again."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing.understanding import Message, RulesUnderstander, Understanding
from services.routing.understanding.matcher import parse
from shared.contracts.tags import DEPARTMENTS, ISSUES, SENTIMENTS, URGENCIES

RULES = RulesUnderstander()
WORDS = [
    "not",
    "never",
    "great",
    "terrible",
    "but",
    "refund",
    "🙄",
    "değil",
    "güzel",
    "ama",
    "iade",
    "yok",
    "عالی",
    "نیست",
    "ولی",
    "پول",
    "؟",
    "?",
    "!",
    "ي",
    "ك",
    "\u200c",
    "\u200f",
    "http://",
    "don't",
]
TEXTS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
MESSAGES = st.builds(Message, TEXTS, st.sampled_from([None, "en", "tr", "fa-IR", "de", "", "??"]), st.booleans())


def check(answer: Understanding) -> None:
    assert answer.sentiment in SENTIMENTS
    assert answer.department in DEPARTMENTS
    assert answer.urgency in URGENCIES
    assert len({issue for issue, _ in answer.issues}) == len(answer.issues)
    assert all(issue in ISSUES and 0.5 <= confidence <= 1 for issue, confidence in answer.issues)
    assert -1 <= answer.sentiment_score <= 1
    confidences = (answer.language_confidence, answer.sentiment_confidence, answer.department_confidence)
    assert all(0 <= c <= 1 for c in (*confidences, answer.spam_score))
    assert answer.language.isalpha()
    assert len(answer.language) in (2, 3)
    assert answer.urgency == "high" or answer.urgency_reason is None


@settings(max_examples=400, deadline=None)
@given(MESSAGES)
def test_any_text_gets_a_lawful_answer(message: Message) -> None:
    check(RULES.understand([message])[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_a_batch_is_its_messages_one_by_one(messages: list[Message]) -> None:
    together = RULES.understand(messages)
    assert together == [RULES.understand([message])[0] for message in messages]
    assert together == RulesUnderstander().understand(messages) if len(messages) == 1 else True


ODD = [
    "",
    " ",
    "\n\n",
    "\0",
    "null",
    "None",
    "NaN",
    "🙂",
    "\u202e\u202d",
    "\u200c" * 50,
    "?" * 500,
    "\ud800",
    "a" * 10_000,
    "'''",
]
ODD += ["word " * 2_500, "نمی " * 3_000, "not " * 2_500, "é́́́́́", "﷽", "<b>hi</b>", "{{7*7}}", "﷼" * 100, "I\u0307" * 40]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_texts(text: str) -> None:
    check(RULES.understand([Message(text, None, True)])[0])


def test_a_long_text_does_not_hold_up_the_batch() -> None:
    text = "Where is my order, nobody answers and not a single refund was ever paid but great " * 200
    started = time.perf_counter()
    RULES.understand([Message(text, None, False)])
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("phrase", ["", "..", ".. word", "word ..", "*"])
def test_a_senseless_phrase_in_the_lexicon_is_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match="lexicon phrase"):
        parse(phrase)
