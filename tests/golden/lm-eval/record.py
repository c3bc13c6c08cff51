"""Record what lm-eval itself writes of evalkit's samples: ``python tests/golden/lm-eval/record.py``.

lm-eval's own tasks, versions and metrics, its dummy model (whose answers a seed draws), its command line. Needed only
for another version of lm-eval. What says nothing of scores (the machine) is left out, and no path is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import lm_eval

HERE = Path(__file__).resolve().parent
SAMPLES = Path(__file__).resolve().parents[3] / "evalkit" / "samples"
TASKS = {
    "openbookqa": ("openbookqa", "test", SAMPLES / "gpt4all" / "openbookqa" / "test.jsonl"),
    "truthfulqa_mc1": ("truthfulqa", "validation", SAMPLES / "truthfulqa" / "multiple_choice" / "validation.jsonl"),
    "truthfulqa_mc2": ("truthfulqa", "validation", SAMPLES / "truthfulqa" / "multiple_choice" / "validation.jsonl"),
}


def main() -> None:
    """Run lm-eval with two seeds and keep its results and samples files."""
    for name, seed in (("a", 1), ("b", 2)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for task, (group, split, data) in TASKS.items():
                own = Path(lm_eval.__file__).parent / "tasks" / group / f"{task}.yaml"
                test = split if split == "test" else "null"
                (folder / f"{task}.yaml").write_text(
                    f"include: {own}\ntask: {task}\ndataset_path: json\ndataset_name: null\n"
                    f"training_split: null\nvalidation_split: {split}\ntest_split: {test}\n"
                    f"dataset_kwargs: {{data_files: {{{split}: {data}}}}}\n",
                    encoding="utf-8",
                )
            command = [
                sys.executable,
                "-m",
                "lm_eval",
                "run",
                "--model",
                "dummy",
                "--model_args",
                "pretrained=dummy",
                "--tasks",
                ",".join(TASKS),
            ]
            command += ["--include_path", str(folder), "--output_path", str(folder / "out"), "--log_samples"]
            subprocess.run([*command, "--seed", str(seed)], check=True)
            target = HERE / name / "dummy"
            target.mkdir(parents=True, exist_ok=True)
            for old in target.iterdir():
                old.unlink()
            for file in (folder / "out").rglob("*.json*"):
                text = file.read_text(encoding="utf-8")
                if file.suffix == ".json":
                    found = json.loads(text)
                    found.pop("pretty_env_info", None)
                    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
                    text = text.replace(str(SAMPLES), "samples").replace(str(folder), "tasks")
                (target / file.name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
