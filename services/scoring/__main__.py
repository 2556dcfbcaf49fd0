"""`python -m services.scoring`: scoring as a process of its own."""

from services.scoring.app import build
from services.scoring.config import ScoringSettings
from shared.core.settings import load
from shared.runtime.process import run_service

if __name__ == "__main__":
    settings = load(ScoringSettings)
    run_service(settings, build(settings))
