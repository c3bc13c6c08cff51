"""Reading a YAML file that a person may have edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from evalkit.errors import ConfigError


def read_mapping(path: Path, where: str, example_keys: str) -> dict[Any, Any]:
    """Read a file that holds one mapping.

    Args:
        where: what messages call it.
        example_keys: some of its keys, for the message.

    Raises:
        ConfigError: no file, not UTF-8, not YAML, or no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a mapping of keys such as {example_keys}")
    return found
