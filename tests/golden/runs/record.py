"""Record the run that `make gate` compares the built-in model with: ``python tests/golden/runs/record.py``.

Needed only when the built-in model, the samples or the scoring changes on purpose. What says nothing about scores
(lm-eval's copies of the task configurations, the machine's name) is left out, to keep the folder small.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.evaluation.run import run
from evalkit.records.model import RUN_FILE, SAMPLES_FILE

SUITES = ("gpt4all", "agieval", "truthfulqa")
TARGET = Path(__file__).resolve().parent / "tiny-samples"


def main() -> None:
    """Run the built-in model in float32 on the built-in samples and keep what readers of a run need."""
    command = ["evalkit", "run", "--model", "tiny", "--dtype", "float32"]
    command += [word for suite in SUITES for word in ("--suite", suite)]
    with tempfile.TemporaryDirectory() as folder:
        model = ModelConfig(name="tiny", dtype="float32", device="cpu")
        config = RunConfig(model=model, suite=SUITES, output=folder)
        made = run(config, command, lambda line: sys.stderr.write(f"{line}\n") and None).record.folder
        document = json.loads((made / RUN_FILE).read_text(encoding="utf-8"))
        samples = (made / SAMPLES_FILE).read_text(encoding="utf-8")
    document.pop("configs")
    document["evalkit"]["sessions"] = []
    document["evalkit"]["config"]["output"] = "results"
    document["evalkit"]["environment"].pop("platform")
    TARGET.mkdir(exist_ok=True)
    (TARGET / RUN_FILE).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (TARGET / SAMPLES_FILE).write_text(samples, encoding="utf-8")


if __name__ == "__main__":
    main()
