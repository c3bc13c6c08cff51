"""Which modules are a task's own: also those that nothing has imported yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.config.task_modules import code_of

pytestmark = pytest.mark.torch_free

SOURCES = {
    "utils.py": "import importlib\ndef score(doc):\n"
    "    if doc:\n        from fuzzy.near import near\n        import away\n        return near(doc)\n"
    "    return importlib.import_module('by_name').score(doc)\n",
    "fuzzy/__init__.py": "LIMIT = 3\n",
    "fuzzy/near.py": "from .rules import rule\nfrom . import more\ndef near(doc):\n    return rule(doc)\n",
    "fuzzy/rules.py": "def rule(doc):\n    from ..above import top\n    return top\n",
    "fuzzy/more.py": "import json, numpy, evalkit.tasks.gpt4all\n",
    "above.py": "top = 1\n",
    "by_name.py": "def score(doc):\n    return 1\n",
    "unused.py": "x = 1\n",
}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / "task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/away.py").write_text("y = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    file = tmp_path / "task/mine.yaml"
    file.write_text("task: mine\nprocess_results: !function utils.score\n", encoding="utf-8")
    return file


def test_what_is_imported_late_is_a_tasks_code(task: Path) -> None:
    before = code_of(task)
    assert len(before) == len(SOURCES), before  # unused.py is none, away.py is one
    changing = [*(name for name in SOURCES if name != "unused.py"), "../elsewhere/away.py"]
    for name in changing:
        path = task.parent / name
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}# changed\n", encoding="utf-8")
        changed = [entry for entry in code_of(task) if entry not in before]
        assert len(changed) == 1, name
        path.write_text(text, encoding="utf-8")
    (task.parent / "unused.py").write_text("x = 2\n", encoding="utf-8")
    assert code_of(task) == before
