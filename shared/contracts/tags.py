"""The closed lists of words that understanding puts on a message (`und` and `unknown` mean: a person should look)."""

from typing import Literal, get_args

Sentiment = Literal["negative", "neutral", "positive", "unknown"]
Department = Literal["sales", "support", "marketing", "none"]
Issue = Literal[
    "billing_refund",
    "delivery",
    "product_quality",
    "bug",
    "staff_service",
    "cancellation",
    "account_access",
    "how_to",
    "praise",
    "suggestion",
    "store_experience",
    "price",
    "spam",
    "irrelevant",
]
Urgency = Literal["low", "normal", "high"]
UrgencyReason = Literal["legal_threat", "safety", "public_reach", "deadline", "churn"]

SENTIMENTS: tuple[str, ...] = get_args(Sentiment)
DEPARTMENTS: tuple[str, ...] = get_args(Department)
ISSUES: tuple[str, ...] = get_args(Issue)
URGENCIES: tuple[str, ...] = get_args(Urgency)
