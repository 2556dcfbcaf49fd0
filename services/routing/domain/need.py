"""Does somebody have to answer this?"""

from datetime import timedelta

from shared.contracts.feedback_received import FeedbackReceivedV1

# The lowest two of five stars, 1–3 of 7: an answer below this share of its scale is an unhappy customer.
_UNHAPPY_SHARE = 0.4


def unhappy(feedback: FeedbackReceivedV1) -> bool:
    """A detractor; without an NPS answer: any rating in the lowest two fifths of its scale."""
    band = feedback.band()
    if band is not None:
        return band == "detractor"
    return any(
        (rating.value - rating.scale_min) / (rating.scale_max - rating.scale_min) < _UNHAPPY_SHARE
        for rating in feedback.ratings
    )


def needs_answer(feedback: FeedbackReceivedV1, *, actionable: bool, spam: bool, history_after_seconds: float) -> bool:
    """An unhappy survey answer always (a respondent was asked, so their words are not spam); else what is actionable
    and not spam, and an unhappy rating without words. Nothing that is removed, and nothing that came in so long after
    it happened that it is history."""
    if feedback.removed or feedback.received_at - feedback.occurred_at > timedelta(seconds=history_after_seconds):
        return False
    if unhappy(feedback) and (feedback.kind == "survey_response" or not spam):
        return True
    return actionable and not spam
