"""Figures over labelled text, printed (`pytest -s`) and held above a floor.

The demo sentences and the lexicons have the same authors, so these figures flatter: they guard against getting worse.
The English review set is foreign text and says more; it lies beside the repository and is measured only if present.
"""

import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.routing.understanding import Message, RulesUnderstander, Understanding

ROOT = Path(__file__).resolve().parents[4]
TEXTS = ROOT / "services" / "node" / "demo" / "texts"
REVIEWS = ROOT.parent / "shared" / "data" / "text" / "sentiment_uci.jsonl.gz"
RULES = RulesUnderstander()


def sample(language: str) -> list[dict[str, Any]]:
    loaded: dict[str, Any] = yaml.safe_load((TEXTS / f"{language}.yaml").read_text(encoding="utf-8"))
    sentences: list[dict[str, Any]] = loaded["sentences"]
    return sentences


def answers(rows: list[dict[str, Any]]) -> list[Understanding]:
    return RULES.understand([Message(row["text"], None, row.get("kind") == "message") for row in rows])


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean F1 over the labels that occur; pairs are (wanted, got)."""
    scores = []
    for label in {wanted for wanted, _ in pairs}:
        right = sum(w == g == label for w, g in pairs)
        scores.append(2 * right / (sum(w == label for w, _ in pairs) + sum(g == label for _, g in pairs)))
    return sum(scores) / len(scores)


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


@pytest.mark.parametrize("language", ["en", "tr", "fa"])
def test_demo_sentences(language: str) -> None:
    rows = sample(language)
    got = answers(rows)
    lettered = [a for r, a in zip(rows, got, strict=True) if sum(c.isalpha() for c in r["text"]) >= 3]
    feelings = [(r["sentiment"], a.sentiment) for r, a in zip(rows, got, strict=True)]
    known = [(w, g) for w, g in feelings if g != "unknown"]
    named = [(set(r["issues"]), {i for i, _ in a.issues}) for r, a in zip(rows, got, strict=True)]
    common = sum(len(w & g) for w, g in named)
    figures = {
        "n": len(rows),
        "language": share([a.language == language for a in lettered]),
        "sentiment": share([w == g for w, g in known]),
        "sentiment_macro_f1": macro_f1(feelings),
        "unknown": 1 - len(known) / len(rows),
        "department": share([r["department"] == a.department for r, a in zip(rows, got, strict=True)]),
        "department_macro_f1": macro_f1([(r["department"], a.department) for r, a in zip(rows, got, strict=True)]),
        "issue_recall": common / sum(len(w) for w, _ in named),
        "issue_precision": common / sum(len(g) for _, g in named),
        "urgency_reason": share([r.get("urgency_reason") == a.urgency_reason for r, a in zip(rows, got, strict=True)]),
        "spam": share([("spam" in w) == a.spam for (w, _), a in zip(named, got, strict=True)]),
    }
    print(language, {name: round(value, 3) for name, value in figures.items()})
    assert figures["language"] >= 0.97
    assert figures["sentiment"] >= 0.8
    assert figures["unknown"] <= 0.2
    assert figures["department"] >= 0.8
    assert figures["issue_recall"] >= 0.85
    assert figures["issue_precision"] >= 0.7
    assert figures["urgency_reason"] >= 0.95
    assert figures["spam"] == 1


def test_english_reviews_by_strangers() -> None:
    if not REVIEWS.exists():
        pytest.skip("the public review set is not beside the repository")
    with gzip.open(REVIEWS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    started = time.perf_counter()
    got = answers(rows)
    rate = len(rows) / (time.perf_counter() - started)
    sided = [
        (r["label"], a.sentiment) for r, a in zip(rows, got, strict=True) if a.sentiment in ("positive", "negative")
    ]
    correct, covered = share([w == g for w, g in sided]), len(sided) / len(rows)
    print(f"reviews n={len(rows)} accuracy of sided {correct:.3f}, sided {covered:.3f}, {rate:.0f} messages/s")
    assert correct >= 0.85
    assert covered >= 0.6
