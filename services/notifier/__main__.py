"""`python -m services.notifier`: the notifier as a process of its own."""

from services.notifier.app import build
from services.notifier.config import NotifierSettings
from shared.core.settings import load
from shared.runtime.process import run_service

if __name__ == "__main__":
    settings = load(NotifierSettings)
    run_service(settings, build(settings))
