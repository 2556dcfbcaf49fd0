"""`python -m services.routing`: the routing service as a process of its own."""

import sys

from services.routing.app import build
from services.routing.config import RoutingSettings
from shared.core.settings import SettingsError, load
from shared.runtime.process import run_service


def main() -> None:
    """Read the settings and run until a signal."""
    try:
        settings = load(RoutingSettings)
    except SettingsError as error:
        sys.exit(f"closeloop routing: {error.detail}")
    run_service(settings, build(settings))


if __name__ == "__main__":
    main()
