"""Offline understanding of feedback: language, sentiment, issues, department, urgency, spam. See `port.py` for the
interface.
"""

from services.routing.understanding.port import Message, Understander, Understanding
from services.routing.understanding.rules_engine import RulesUnderstander

__all__ = ["Message", "RulesUnderstander", "Understander", "Understanding"]
