"""Who answers, as a record says it: asked once, and looked at as the record's readers will, before work is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.answering import Answerer, FullyDescribed, Work
from evalkit.answering.asking import capabilities_of, description_of, explaining_adapter, work_of
from evalkit.errors import ModelError, StoreError
from evalkit.records.facts import ModelFacts
from evalkit.records.model import RunFacts, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.agreement import check_choices, check_errors, check_marks, check_model, check_task_samples
from evalkit.results.checks import check_begun, check_finished, check_numbers, check_sample
from evalkit.results.writing import part


@dataclass(frozen=True)
class Identified:
    """What an answerer says of itself.

    Attributes:
        described: as it says it.
        facts: the same, as a record's part.
        work: how it works.
    """

    described: FullyDescribed
    facts: ModelFacts
    work: Work


def identified(name: str, answerer: Answerer) -> Identified:
    """Ask an answerer what it is, for `run` and `gate --run-model`.

    Args:
        name: what the user calls the model.
        answerer: whom to ask.

    Raises:
        ModelError: it is no `Answerer`, fails, says too little, or contradicts itself.
        StoreError: it says what has no place in a record.
    """
    capabilities_of(answerer)
    _check_in_process(answerer)
    described = description_of(answerer)
    facts = part(ModelFacts, {"name": name, **described}, f"{type(answerer).__name__}.describe")
    try:
        check_numbers(described, "evalkit.model")
        check_model(facts)
    except ValueError as error:
        raise _contradiction(answerer, error) from None
    return Identified(described, facts, work_of(answerer))


def _check_in_process(answerer: Answerer) -> None:
    who = f"{type(answerer).__name__}.in_process"
    with explaining_adapter(answerer, who):
        found = answerer.in_process
        if found is None:
            return
        from evalkit.models.scored import ScoredLM

        if not isinstance(found, ScoredLM):
            raise ModelError(f"{who}: expected a ScoredLM (evalkit/models) or None, found {type(found).__name__}")


def check_readable(answerer: Answerer, facts: RunFacts) -> None:
    """Check that a record which begins so will be one that can be read.

    Raises:
        ModelError: what the answerer says does not go together, or not with this machine.
    """
    try:
        check_begun(facts)
    except ValueError as error:
        raise _contradiction(answerer, error) from None


def check_finished_run(record: RunRecord, samples: Sequence[Sample]) -> None:
    """Look at a record before it is written as its readers will: a finished run cannot be gone on with.

    Raises:
        StoreError: no reader would take it.
    """
    try:
        facts = RunFacts(**{name: getattr(record, name) for name in RunFacts.__struct_fields__})
        check_finished(facts, record.lm_eval)
        check_marks(record, samples)
        for task in record.metrics:
            of_task = [sample for sample in samples if sample.task == task]
            for sample in of_task:
                _check_sample(sample)
            check_task_samples(record, task, of_task)
            check_errors(record, task, of_task)
    except ValueError as error:
        raise StoreError(
            f"{record.folder}: not finished, since its record could not be read again: {error}; {kept(record.folder)}"
        ) from None


def kept(folder: Path) -> str:
    """Say how to go on where all is computed, but no record can be made of it yet."""
    return (
        "what was computed is kept: once that is mended, give the same command with "
        f"--fresh --reuse {folder}, which takes over the answers to equal requests"
    )


def _check_sample(sample: Sample) -> None:
    try:
        check_sample(sample)
        check_choices(sample)
    except ValueError as error:
        raise ValueError(f"document {sample.doc_id} of {sample.task}: {error}") from None


def _contradiction(answerer: Answerer, error: ValueError) -> ModelError:
    who = f"{type(answerer).__name__}.describe"
    return ModelError(f"{who}: {error}; a record that says so could not be read again, so nothing was computed")
