"""What does not refuse a comparison but belongs beside its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.comparison.comparable import brief, one_sided, recorded
from evalkit.errors import some
from evalkit.records.facts import RequestCounts
from evalkit.records.identity import changed_of, same_protocol
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.agreement import lacks_passages


def _of_model(record: RunRecord, whose: str) -> list[str]:
    """Return what of a run's model and requests belongs beside its numbers."""
    model, counts = record.model, record.requests or RequestCounts()
    ignored = {} if model.generation is None else model.generation.ignored
    found = []
    if model.adapter is not None:
        found.append(f"adapter: the {whose} is {model.name} with {model.adapter.name}")
    if ignored:
        settings = ", ".join(f"{name}={value}" for name, value in ignored.items())
        found.append(f"generation: {settings} of the {whose}'s generation_config.json is not applied")
    if model.generation is not None and model.generation.engine is not None:
        found.append(
            f"engine: texts of the {whose} were made by {model.generation.engine}, whose last bits are its own, "
            "and so are its draws"
        )
    if counts.cut:
        found.append(f"cut: {counts.cut:,} requests of the {whose} lost their beginning")
    if counts.apart:
        found.append(f"apart: in {counts.apart:,} requests of the {whose} a token spans context and continuation")
    return found


def remarks(candidate: RunRecord, baseline: RunRecord | None = None) -> list[str]:
    """Return what does not refuse a comparison but belongs beside its result."""
    found = []
    records = [candidate] if baseline is None else [candidate, baseline]
    data = [entry for record in records for entry in record.data.values()]
    if any(entry.verdict == "samples" for entry in data):
        found.append("samples: the built-in samples are no benchmark, so no number here is a score")
    elif any(entry.verdict == "other" for entry in data):
        found.append("data: some of it is not the published content")
    if candidate.config.limit:
        found.append(f"limited: only the first {candidate.config.limit} documents of each task")
    found += [why for record in records if record.foreign is not None and (why := record.foreign.unpaired_because)]
    for record in records:
        errors = () if record.foreign is None else record.foreign.errors
        more = f" (and of {len(errors) - 1} more scores)" if len(errors) > 1 else ""
        found += [f"{record.folder}: {errors[0][1]}{more}"] if errors else []
    found += _of_model(candidate, "candidate")
    found += [f"{record.folder}: {remark}" for record in records for remark in record.reuse_remarks]
    if baseline is not None:
        found += _of_model(baseline, "baseline")
        templates = [record.model.chat_template_sha256 for record in records]
        if candidate.config.apply_chat_template and None in templates and any(templates):
            found.append("chat_template: one of the runs does not say which it used")
        if same_protocol(candidate.identity, baseline.identity) is False:
            identities = candidate.identity, baseline.identity
            tasks = [what for task in candidate.metrics for what in changed_of(*identities, task)]
            of = f" ({some(tasks)})" if tasks else ""
            found.append(f"protocol: the task configurations changed between the runs{of}; evalkit verify checks them")
        tokenizers = [record.model.tokenizer_fingerprint for record in records]
        tokenizer_files = [record.identity and record.identity.tokenizer.tokenizer_files for record in records]
        if all(tokenizers) and tokenizers[0] != tokenizers[1]:
            found.append("tokenizer: the two runs' tokenizers encode differently")
        elif all(tokenizer_files) and tokenizer_files[0] != tokenizer_files[1]:
            found.append("tokenizer: the files of the two runs' tokenizers differ")
        libraries = [record.environment.versions for record in records]
        absent = ["absent" if record.foreign is None else "not recorded" for record in records]
        changed = [
            f"{name} {libraries[1].get(name, absent[1])} -> {libraries[0].get(name, absent[0])}"
            for name in ("lm_eval", "transformers", "torch", "torch_npu")
            if libraries[0].get(name) != libraries[1].get(name)
        ]
        found += [f"versions: {', '.join(changed)}"] if changed else []
        found += [
            f"{name}: {brief(a)}, baseline {brief(b)}"
            for field, name, a, b in recorded(candidate, baseline, ())
            if not field
        ]
        found += one_sided(candidate, baseline)
    return found


def without_passages(sides: Mapping[str, Sequence[tuple[RunRecord, Sequence[Sample]]]]) -> list[str]:
    """Return a note on tasks whose errors are too small, since no run says which of their documents share a passage.

    Args:
        sides: by task the documents of each run that is compared; of two runs one that says it is enough.
    """
    found = [
        task
        for task, of_task in sides.items()
        if all(lacks_passages(record, task, samples) for record, samples in of_task)
    ]
    if not found:
        return []
    return [
        f"passages: recorded before evalkit knew that documents of {some(found)} share some, so they count as "
        "independent: errors are too small; run it anew"
    ]
