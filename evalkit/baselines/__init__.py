"""Published scores as data: what a run is compared with.

``configs/baselines/*.yaml`` holds one file a model. `load_baseline` finds one by name, `import_log` makes one from a
published log or model card.
"""

from evalkit.baselines.model import Baseline, HumanEval, Metric, SuiteScore, slug_of
from evalkit.baselines.reading.importer import Imported, import_log
from evalkit.baselines.registry import (
    baseline_folders,
    default_folder,
    list_baselines,
    load_baseline,
    save_baseline,
)
from evalkit.baselines.yamlfile import read_baseline, to_yaml

__all__ = [
    "Baseline",
    "HumanEval",
    "Imported",
    "Metric",
    "SuiteScore",
    "baseline_folders",
    "default_folder",
    "import_log",
    "list_baselines",
    "load_baseline",
    "read_baseline",
    "save_baseline",
    "slug_of",
    "to_yaml",
]
