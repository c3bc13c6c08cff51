"""Who may import what: by reading the source, and by looking at what a process has loaded."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import evalkit
from tests.support.records import write_record

pytestmark = [pytest.mark.torch_free, pytest.mark.no_cover]

PACKAGE = Path(evalkit.__file__).resolve().parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_configs" not in path.parts)
# A package that runs models or talks to their hubs; reports and statistics work without them.
HEAVY = {"torch", "transformers", "lm_eval", "datasets", "openmind", "openmind_hub", "torch_npu", "ray", "vllm"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """What the rules look at of a file: six rules walk the same trees."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.Assign, ast.Global)
    return tuple(node for node in ast.walk(parsed(path)) if isinstance(node, kinds))


@cache
def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it, also through importlib and for types only."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "contained_import"):
                found.add(str(node.args[0].value).split(".")[0])
    return found


def importers(package: str) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in FILES if package in imported(path)}


# The package's files that any room may stand on, then the rooms in the data's order: CONTRIBUTING, "Where things are".
GROUND = ["__init__", "errors", "out_of_memory", "paths", "streams", "replacing", "tables", "languages"]
ROOMS = [
    *("config", "stats", "records", "scoring", "data", "store", "sandbox", "answering", "models", "tasks"),
    *("results", "baselines", "comparison", "report", "evaluation", "api", "cli"),
]
# The last is a command: lm-eval's own, which knows the adapter.
ORDER = [*GROUND, *ROOMS, "lm_eval"]


def module_of(path: Path) -> str:
    parts = ("evalkit", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def own_imports(tree: ast.AST, package: str) -> set[str]:
    """What of evalkit a file imports when it runs, in functions too; what is there for types alone is left out."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: -(node.level - 1) or None]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            found |= {f"{base}.{alias.name}" for alias in node.names}
        found |= own_imports(node, package)
    return {name for name in found if name.split(".")[0] == "evalkit"}


def import_graph() -> dict[str, set[str]]:
    """Module to the modules that it imports."""
    return {module: set(names) for module, names in own_graph().items()}


@cache
def own_graph() -> dict[str, set[str]]:
    modules = {module_of(path): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = own_imports(parsed(path), package)
        graph[module] = {name if name in modules else name.rpartition(".")[0] for name in names} - {module}
    graph["evalkit"] = set()  # the users' door: it imports `api` when one of its names is asked for
    return graph


def test_every_file_has_its_place_in_the_order() -> None:
    assert {room_of(module) for module in import_graph()} == set(ORDER)


def test_no_room_imports_from_a_later_one() -> None:
    wrong = {
        (module, imported_module)
        for module, names in import_graph().items()
        for imported_module in names
        if ORDER.index(room_of(imported_module)) > ORDER.index(room_of(module))
    }
    assert wrong == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = import_graph()
    # Take away what imports nothing that is left; what remains stands in circles, or on one.
    while free := {module for module, names in graph.items() if not names & set(graph)}:
        graph = {module: names for module, names in graph.items() if module not in free}
    assert graph == {}


def test_the_guide_shows_the_rooms_in_their_order() -> None:
    guide = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = guide.split("## Where things are")[1].split("```")[1]
    assert re.findall(r"^([a-z_]+)/ ", block, re.MULTILINE) == ROOMS


def test_the_guides_arrows_are_those_of_the_code() -> None:
    graph: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, names in import_graph().items():
        if (room := room_of(module)) in graph:
            graph[room] |= {room_of(name) for name in names} & set(ROOMS) - {room, "config"}
    guide = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = guide.split("## Where things are")[1].split("```")[3]
    drawn = {line.split("<-")[0].strip(): line.split("<-")[1].split() for line in block.splitlines() if "<-" in line}
    alone = {"data": {"records"}, "scoring": {"records"}}  # said in words, as is that all may import config
    assert alone | {room: set(names) for room, names in drawn.items()} == {r: n for r, n in graph.items() if n}


def test_one_file_imports_openmind_and_torch_npu() -> None:
    assert importers("openmind") == {"models/ascend.py"}
    assert importers("torch_npu") == {"models/ascend.py"}
    assert importers("openmind_hub") == {"data/openmind_hub.py"}
    assert importers("vllm") == {"models/vllm_engine.py"}


def test_one_seam_knows_lm_evals_tasks() -> None:
    """Its model classes and their arguments are the adapter's; `mixed` is a task class of its own kind."""
    modules = {
        path.relative_to(PACKAGE).as_posix(): {
            name
            for node in nodes(path)
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            if name.partition(".")[0] == "lm_eval"
        }
        for path in FILES
    }
    assert {path: names for path, names in modules.items() if names} == {
        "lm_eval.py": {"lm_eval.__main__", "lm_eval.config.task"},
        "models/__init__.py": {"lm_eval.models", "lm_eval.api"},
        "models/generation.py": {"lm_eval.models.utils"},
        "models/scored.py": {"lm_eval.models.huggingface"},
        "tasks/lm_eval_loading.py": {
            "lm_eval.api.metrics",
            "lm_eval.api.registry",
            "lm_eval.api.task",
            "lm_eval.tasks",
            "lm_eval.utils",
        },
        "tasks/lm_eval_tasks.py": {"lm_eval.api.metrics", "lm_eval.evaluator"},
        "tasks/mixed.py": {"lm_eval.api.instance", "lm_eval.api.task"},
        "tasks/trial.py": {"lm_eval.api.instance"},
    }


def test_the_main_loop_sets_nothing_on_a_model_from_outside() -> None:
    """Nobody assigns to an attribute of what answers; a `Session` says what there is to say."""
    for path in FILES:
        for node in nodes(path):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in (t for each in targets for t in ast.walk(each) if isinstance(t, ast.Attribute)):
                owner = target.value.id if isinstance(target.value, ast.Name) else ""
                assert owner not in {"answerer", "lm"}, (path, node.lineno)
                if path.name in ("run.py", "evaluated.py", "partial.py", "gate_run.py", "dry_run.py"):
                    assert owner in {"self", "found", "stop"}, (path, node.lineno)


def test_no_task_keeps_anything_in_its_module() -> None:
    for path in FILES:
        if path.parent == PACKAGE / "tasks":
            assert not [node.lineno for node in nodes(path) if isinstance(node, ast.Global)], path


def test_at_most_one_file_imports_ray() -> None:
    assert len(importers("ray")) <= 1


@pytest.mark.parametrize(
    "part",
    [
        "stats",
        "records",
        "data",
        "results",
        "baselines",
        "comparison",
        "report",
        "config",
    ],
)
def test_what_works_without_a_model_imports_no_package_for_models(part: str) -> None:
    files = [path for path in FILES if path == PACKAGE / part or PACKAGE / part in path.parents]
    assert files
    for path in files:
        heavy = imported(path) & HEAVY
        # The hubs' documents come through their packages, imported when they are asked for.
        assert heavy <= {"hubs.py": {"datasets"}, "openmind_hub.py": {"openmind_hub"}}.get(path.name, set()), path


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a process has loaded after running code."""
    script = f"{code}\nimport sys\nsys.stdout.flush()\nprint('\\0' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.rpartition("\0")[2].split()}


def test_the_command_line_starts_light() -> None:
    assert loaded_by("import evalkit.cli") & (HEAVY | {"pandas", "scipy", "tabulate"}) == set()


def test_a_report_needs_neither_torch_nor_lm_eval(tmp_path: Path) -> None:
    write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}})
    code = f"from evalkit.cli import main\nmain(['report', {str(tmp_path)!r}], standalone_mode=False)"
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("what", ["suites", "tasks", "models", "data"])
def test_a_listing_needs_neither_torch_nor_lm_eval(what: str) -> None:
    assert loaded_by(f"from evalkit.cli import main\nmain(['list', '{what}'], standalone_mode=False)") & HEAVY == set()


@pytest.mark.parametrize("kind", ["nursery", "tester"])
def test_a_helper_of_the_sandbox_loads_neither_socket_nor_pathlib(kind: str) -> None:
    """They bring a dozen modules, which each start would import and each fork map (``sandbox/sockets.py``)."""
    code = (
        "import sys, types; package = types.ModuleType('evalkit_sandbox'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules[package.__name__] = package\n"
        f"from evalkit_sandbox import forkserver, {kind}; {kind}.load(); print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE / "sandbox")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"socket", "pathlib", "selectors", "dataclasses", "inspect", "threading", "random"}.isdisjoint(loaded)
