"""Where the files that come with evalkit lie."""

from __future__ import annotations

import os
from pathlib import Path

from evalkit.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent
SAMPLES = _PACKAGE / "samples"


def configs_dir() -> Path:
    """Return the folder of suites, tasks, baselines and models.

    An installed wheel carries it inside the package (``evalkit/_configs``, see ``force-include`` in pyproject.toml);
    a checkout or an editable install has it beside the package (``configs/``). The one inside is looked for first,
    because beside an installed package any other distribution may have put a folder called ``configs``.
    """
    packaged = _PACKAGE / "_configs"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "configs"


def make_parent(path: Path, option: str) -> None:
    """Make the folder that a file will be written to.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{option} {path}: its folder cannot be made ({error.strerror}); choose another place"
        ) from None


def user_path(text: str | Path) -> Path:
    """Return a path as a user writes it, ``~`` resolved where it names a home; ``Path.expanduser`` raises elsewhere."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (the reason is above)


def is_folder(path: str | Path) -> bool:
    """Tell whether a path is a folder; False where it cannot be one: ``Path.is_dir`` raises at too long a name."""
    return os.path.isdir(path)  # noqa: PTH112 (the reason is above)
