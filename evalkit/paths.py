"""Where the package's own files are: ``configs/`` of a checkout, or the copy inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SAMPLES = PACKAGE / "samples"


def configs_dir() -> Path:
    """Return the folder of suites, tasks, baselines and the data manifest.

    A checkout's ``configs/`` (beside the package) wins over ``evalkit/_configs``, which a wheel contains.
    """
    checkout = PACKAGE.parent / "configs"
    return checkout if (checkout / "datasets.yaml").is_file() else PACKAGE / "_configs"
