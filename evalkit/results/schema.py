"""The JSON schemas of a record, made of its types: ``python -m evalkit.results.schema`` writes them into ``docs/``."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from evalkit.config.options import declared_settings
from evalkit.config.run_config import RunConfig
from evalkit.records import asked, facts, identity, model, samples
from evalkit.records.growth import fields_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
KINDS: dict[str, type[msgspec.Struct]] = {"run.schema.json": model.RunFacts, "sample.schema.json": samples.Sample}
"""File -> what it describes: the key ``evalkit`` of ``run.json``, and a line of ``samples.jsonl``."""


def schema_text(kind: type[msgspec.Struct]) -> str:
    """Return a type's JSON schema, with what is written under each field as its description."""
    (_, definitions) = msgspec.json.schema_components([kind])
    said = _descriptions()
    # evalkit writes every key; records before a key was added lack it.
    younger = {(name, key): minor for name, key, minor, _ in fields_of(kind)}
    omitting = {kind.__name__ for kind in (model.RunSession,)}
    for name, definition in definitions.items():
        if name not in omitting and "properties" in definition:
            definition["required"] = [key for key in definition["properties"] if not younger.get((name, key))]
        for key, described in definition.get("properties", {}).items():
            described["description"] = said[name].get(key) or declared_settings(RunConfig)[key].option.help
    whole: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    whole |= {"$ref": f"#/$defs/{kind.__name__}", "$defs": definitions}
    return json.dumps(whole, indent=1).replace("#/components/schemas/", "#/$defs/") + "\n"


def _descriptions() -> dict[str, dict[str, str]]:
    """Return class -> key in the JSON -> the docstring under the field's declaration, inherited ones included."""
    found: dict[str, dict[str, str]] = {}
    for module in (identity, facts, asked, model, samples):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                made = node.name.removeprefix("_")  # a part that grows by the options is declared with the underscore
                names = {field.name: field.encode_name for field in msgspec.structs.fields(getattr(module, made))}
                inherited = [found.get(base.id, {}) for base in node.bases if isinstance(base, ast.Name)]
                found[made] = {key: text for of_base in inherited for key, text in of_base.items()}
                for declared, doc in zip(node.body, node.body[1:], strict=False):
                    if isinstance(declared, ast.AnnAssign) and isinstance(doc, ast.Expr):
                        found[made][names[ast.unparse(declared.target)]] = str(ast.literal_eval(doc.value))
    return found


if __name__ == "__main__":
    for name, kind in KINDS.items():
        (DOCS / name).write_text(schema_text(kind), encoding="utf-8")
