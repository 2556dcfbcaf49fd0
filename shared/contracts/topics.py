"""Every topic: its owner, key rule, partitions and retention.

Partition counts never change: order per key rests on them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """`name` is the logical and physical name; only `owner` writes to it;
    `key` says in words what the record key is."""

    name: str
    owner: str
    key: str
    partitions: int = 24
    retention_days: int = 14


FEEDBACK_RECEIVED = Topic("feedback.received.v1", owner="ingest", key="customer, else feedback")
INVITATION_CHANGED = Topic("invitation.changed.v1", owner="ingest", key="customer, else invitation")
CUSTOMER_PURCHASED = Topic("customer.purchased.v1", owner="ingest", key="customer, else purchase")
FEEDBACK_ROUTED = Topic("feedback.routed.v1", owner="routing", key="customer, else feedback")
ASSIGNMENT_CHANGED = Topic("assignment.changed.v1", owner="routing", key="customer, else feedback")
SCORE_UPDATED = Topic("score.updated.v1", owner="scoring", key="series")
SCORE_ALERTED = Topic("score.alerted.v1", owner="scoring", key="series")
FOLLOWUP_CHANGED = Topic("followup.changed.v1", owner="notifier", key="customer, else feedback")

TOPICS: tuple[Topic, ...] = (
    FEEDBACK_RECEIVED,
    INVITATION_CHANGED,
    CUSTOMER_PURCHASED,
    FEEDBACK_ROUTED,
    ASSIGNMENT_CHANGED,
    SCORE_UPDATED,
    SCORE_ALERTED,
    FOLLOWUP_CHANGED,
)
# The log inside the database serves one process with one event loop: partitions would bring it no parallelism, only
# smaller batches, and batches decide its speed (deploy/adr/0006).
SINGLE_NODE_PARTITIONS = 1
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
