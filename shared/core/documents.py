"""YAML that comes with us or with an installation."""

from typing import Any

import yaml

# libyaml where PyYAML was built with it: ten times as fast, and a node reads fifty files before it serves.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def from_yaml(text: str) -> Any:
    """As yaml.safe_load. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - both are safe
