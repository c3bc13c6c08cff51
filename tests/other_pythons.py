"""Run the torch-free tests on every Python from 3.10 to 3.13 that this machine has, besides the one running this.

Each gets an environment `.venv-3.X` with evalkit's light dependencies only, which also shows that suites, data,
statistics and reports need neither torch nor lm-eval.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
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
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), *REQUIREMENTS], check=True)
        ready.write_text(wanted, encoding="utf-8")
    return interpreter


def main() -> int:
    """Run the tests on each version; returns the exit code."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    failed = []
    for version in VERSIONS:
        if version == own:
            continue
        python = find_python(version)
        if python is None:
            print(f"Python {version}: not on this machine, left out", flush=True)
            continue
        print(f"Python {version}: torch-free tests", flush=True)
        # The sandbox's programs run in helpers of the tests' own Python, at length; once is enough.
        options = [
            "-q",
            "--ignore=tests/unit/sandbox",
            "-n",
            "2",
            "-m",
            "torch_free and not slow",
            "-p",
            "no:cacheprovider",
        ]
        command = [str(environment(python, version)), "-m", "pytest", *options]
        few = {**os.environ, "EVALKIT_HYPOTHESIS_PROFILE": "few"}
        if subprocess.run(command, cwd=ROOT, env=few).returncode:
            failed.append(version)
    if failed:
        print(f"torch-free tests failed on Python {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
