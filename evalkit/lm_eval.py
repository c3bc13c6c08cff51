"""lm-eval's command line with the model ``openmind`` known to it: ``python -m evalkit.lm_eval --model openmind ...``.

lm-eval 0.4.13 looks a model up before it imports any task, and has no entry points for models; so something has to
import `evalkit.models` first. Later releases find the model by themselves.
"""

from __future__ import annotations

import sys

from evalkit.config.generation_settings import settings_fault
from evalkit.errors import ConfigError, EvalkitError


def main() -> int:
    """Run lm-eval on this process's arguments; returns the exit code."""
    from lm_eval.__main__ import cli_evaluate

    import evalkit.models  # noqa: F401  # makes the model known

    if "openmind" in sys.argv:
        _check_settings_first()
    if "openmind" in sys.argv and not any(word.startswith("--device") for word in sys.argv):
        # lm-eval would say cuda:0, also where there is none.
        sys.argv += ["--device", "auto"]
    try:
        cli_evaluate()
    except EvalkitError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _check_settings_first() -> None:
    """Judge ``generation_kwargs`` before lm-eval reads a task: it makes numbers of some texts, and fails on others."""
    from lm_eval.config.task import TaskConfig

    made = TaskConfig.__post_init__

    def checked(self: TaskConfig) -> None:
        found = None if self.generation_kwargs is None else settings_fault(self.generation_kwargs)
        if found is not None:
            raise ConfigError(f"{self.task}: generation_kwargs: {found}")
        made(self)

    TaskConfig.__post_init__ = checked


if __name__ == "__main__":
    sys.exit(main())
