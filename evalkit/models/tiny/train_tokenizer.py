"""How ``tokenizer.json`` was made: ``python -m evalkit.models.tiny.train_tokenizer [OUTPUT]``.

A byte-level BPE of 2048 entries, trained on the prose that every Python ships as its help topics. Every string can be
encoded, because the 256 bytes are entries of their own. The shipped file was made with Python 3.11.7; another
Python has other help texts, so its file differs, and scores of the tiny model with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from evalkit.models.tiny import SPECIAL_TOKENS, VOCABULARY_SIZE


def train() -> str:
    """Return the text of ``tokenizer.json``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)], trainer=trainer)
    document = json.loads(tokenizer.to_str())
    # Pairs joined by a space are read by every release of `tokenizers`, lists only from 0.20 on.
    document["model"]["merges"] = [
        pair if isinstance(pair, str) else " ".join(pair) for pair in document["model"]["merges"]
    ]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tokenizer.json")
    output.write_text(train(), encoding="utf-8")
