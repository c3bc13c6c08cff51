"""Run the torch-free tests on the Pythons from 3.10 to 3.13 that this machine has, besides the one running this.

The oldest runs them all. The later ones run what meets their compiler, their syntax tree, their types and their
standard library: programs and their extraction, records, configuration, files, the command line. What reads published
tables or computes statistics is plain arithmetic and text, which 3.10 and this Python see already.

Each gets an environment `.venv-3.X` with evalkit's light dependencies only, which also shows that suites, data,
statistics and reports need neither torch nor lm-eval. ``--make`` makes the environments and runs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
# What the versions after the oldest run: a folder or a file of tests/.
LATER = (
    *("integration/test_cli.py", "integration/test_humaneval_check.py"),
    *("unit/answering", "unit/cli", "unit/data", "unit/evaluation", "unit/store", "unit/tasks"),
    *("unit/results/test_records.py", "unit/results/test_schema.py", "unit/results/test_whole_records.py"),
    *("unit/report/test_tables.py", "unit/report/test_run_report.py"),
    *("unit/comparison/test_compare.py", "unit/stats/test_stats.py"),
    *("unit/baselines/test_files.py", "unit/baselines/test_import.py"),
    *("unit/api/test_functions.py", "unit/config", "unit/test_errors.py", "unit/test_streams.py"),
)
# Of the sandbox's tests: what compiles programs and takes them apart. The others start helpers by the thousand, of the
# tests' own Python.
SANDBOX = ("commands", "entry", "extract", "extract_kinds", "score")
# What the torch-free half imports. lm-eval and torch are left out on purpose.
REQUIREMENTS = (
    *("click", "jinja2", "msgspec", "numpy", "pandas", "pyyaml", "scipy", "tabulate", "tqdm"),
    *("hypothesis", "pytest", "pytest-xdist"),
)


def find_python(version: str) -> str | None:
    """Return a working interpreter of this version: on PATH, or one that pyenv has built."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    for candidate in filter(None, candidates):
        # A pyenv shim of a version that is not selected exists, and fails.
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def environment(python: str, version: str) -> Path:
    """Return the interpreter of an environment for this version, made on the first call."""
    folder = ROOT / f".venv-{version}"
    interpreter = folder / "bin" / "python"
    ready = folder / ".ready"
    wanted = " ".join(REQUIREMENTS)
    if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        install.append("--no-compile")  # most of pandas and scipy is never imported
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), *REQUIREMENTS], check=True)
        ready.write_text(wanted, encoding="utf-8")
    return interpreter


def tests_of(version: str) -> list[str]:
    """Return what this version runs, as arguments of pytest."""
    parts = ["unit", "integration"] if version == VERSIONS[0] else list(LATER)
    sandbox = [f"tests/unit/sandbox/test_{name}.py" for name in SANDBOX]
    others = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "unit" / "sandbox").glob("test_*.py")}
    return [*(f"tests/{part}" for part in parts), *sandbox, *(f"--ignore={path}" for path in others - {*sandbox})]


def main() -> int:
    """Run the tests on each version; returns the exit code."""
    only_make = "--make" in sys.argv[1:]
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    failed = []
    for version in VERSIONS:
        if version == own:
            continue
        python = find_python(version)
        if python is None:
            print(f"Python {version}: not on this machine, left out", flush=True)
            continue
        interpreter = environment(python, version)
        if only_make:
            continue
        print(f"Python {version}: torch-free tests", flush=True)
        options = ["-q", "-n", "2", "-m", "torch_free and not slow", "-p", "no:cacheprovider"]
        command = [str(interpreter), "-m", "pytest", *options, *tests_of(version)]
        few = {**os.environ, "EVALKIT_HYPOTHESIS_PROFILE": "few"}
        if subprocess.run(command, cwd=ROOT, env=few).returncode:
            failed.append(version)
    if failed:
        print(f"torch-free tests failed on Python {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
