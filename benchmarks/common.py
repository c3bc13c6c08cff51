"""What the benchmarks share: Mistral's tokenizer, random models of its shape, and the suites' requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.config.suites import find_task, load_tasks
from evalkit.data import parse_source
from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks
from tests.real.make_model import TOKENIZER, cache_folder, make_tokenizer


class BenchmarkRequest(NamedTuple):
    """One log-likelihood request and where it comes from."""

    task: str
    document: int
    context: str
    continuation: str


def mistral_tokenizer() -> Any:
    """Build Mistral's 32000-token tokenizer from the file that `make real-model` keeps, fetched if it is not there.

    Written out with the ``tokenizers`` library because transformers' converter drops the leading-space mark; checked
    against sentencepiece itself here, so that a wrong conversion stops the benchmark.
    """
    import sentencepiece
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    try:
        file = make_tokenizer(cache_folder())
    except RuntimeError as error:
        kept = cache_folder() / TOKENIZER
        raise SystemExit(
            f"tokenizer: {error}; bring the file to {kept} from where there is an index, or give --model "
            "where a benchmark takes one"
        ) from None
    reference = sentencepiece.SentencePieceProcessor(model_file=str(file))
    pieces = [reference.id_to_piece(i) for i in range(reference.get_piece_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in ids and piece[k:] in ids]
        merges += [(-reference.get_score(ids[piece]), ids[left], ids[right], left, right) for left, right in splits]
    # sentencepiece merges the pair whose result has the highest score first.
    merges.sort()
    model = models.BPE(
        vocab=ids,
        merges=[(left, right) for *_, left, right in merges],
        unk_token="<unk>",
        byte_fallback=True,
        fuse_unk=True,
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    for text in (
        "Question: Which colour is the sky?\nAnswer: blue",
        "  two  spaces",
        "naïve 北京 \U0001f600 1234",
        "def f(x):\n\treturn",
    ):
        found, expected = tokenizer.encode(text, add_special_tokens=False), reference.encode(text)
        if found != expected:
            raise SystemExit(f"tokenizer: {text!r} encodes to {found}, sentencepiece says {expected}")
    return tokenizer


def random_mistral(hidden: int, layers: int, dtype: str, device: str, *, heads: int | None = None) -> Any:
    """Build a Mistral with random weights and the real vocabulary size, in evaluation mode."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    heads = heads or max(4, hidden // 128)
    config = MistralConfig(
        vocab_size=32000,
        hidden_size=hidden,
        intermediate_size=int(hidden * 3.5),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        max_position_embeddings=4096,
        sliding_window=4096,
    )
    with torch.device(device):
        model = MistralForCausalLM(config)
    return model.to(getattr(torch, dtype)).eval()


SUITES = ("gpt4all", "agieval", "bigbench", "truthfulqa")
"""The suites whose 34 tasks ask for log-likelihoods."""


def loglikelihood_tasks(suites: Sequence[str] = SUITES) -> list[str]:
    """Return the names of the suites' tasks."""
    return [task.name for task in load_tasks().values() if task.suite in suites]


def task_objects(data: str, names: Sequence[str]) -> dict[str, Any]:
    """Return lm-eval's task objects for evalkit's tasks, with documents of a local folder."""
    source = parse_source(str(Path(data).resolve()))
    found: dict[str, Any] = load_lm_eval_tasks(names, {find_task(name).suite: source for name in names})["tasks"]
    return found


def instances_of(task: Any, doc: Any, kind: str = "loglikelihood") -> list[Any]:
    """Return the instances of one kind that a task makes of a document."""
    made = task.construct_requests(doc, task.fewshot_context(doc, num_fewshot=0))
    return [one for one in (made if isinstance(made, list) else [made]) if one.request_type == kind]


def suite_requests(
    data: str, documents: int | None, suites: Sequence[str] | None = None, share: float = 1.0
) -> list[BenchmarkRequest]:
    """Render the log-likelihood requests of the first documents of every task.

    Args:
        data: folder with the benchmark data.
        documents: documents a task; None: all.
        suites: names; None: all four.
        share: of each task's documents, after ``documents``.
    """
    requests = []
    for name, task in task_objects(data, loglikelihood_tasks(suites or SUITES)).items():
        docs = list(task.eval_docs)
        count = int((len(docs) if documents is None else min(documents, len(docs))) * share)
        for number, doc in enumerate(docs[:count]):
            requests += [BenchmarkRequest(name, number, *one.arguments) for one in instances_of(task, doc)]
    return requests
