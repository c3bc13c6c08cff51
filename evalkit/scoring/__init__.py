"""Log-probabilities of continuations, each shared prefix computed once; and texts.

::

    requests.py  what is asked: TokenRequest, GenerationRequest; what a score is
    encode.py    strings -> TokenRequest, by lm-eval's splitting rules, in batches
    forest.py    TokenRequest -> sorted rows; the arrays of a pack's trees; numpy only
    plan.py      rows -> trees -> packs (a Plan that can be stored and scored in parts); numpy only
    packs.py     what a Scorer is; iter_packs and score run a plan's packs on one
    parts.py     in_parts: work in as many parts as memory demands, the only loop that meets out-of-memory errors
    packed.py    ForestScorer: one forward pass a pack, the tree as attention mask
    rows.py      RowScorer: packs for whoever scores requests one by one, elsewhere
    plain.py     PlainScorer: padded rows, the reference that packed.py is checked against
    choice.py    choose_scorer: the forest where it is exact for this model, else plain, with the reason
    attention.py which mask a model should be given; blocks.py: attention without one
    head.py      logits of the wanted positions only, for any causal model
    rotary.py    rotary embeddings that change with the length of a row
    memory.py    how many tokens fit; host_memory.py: what this process may have
    soundness.py whether this is a causal model that gives numbers
    recheck.py   a share of the requests again in float32: what the dtype and the packing changed

    generate.py  Generator: greedy and sampled texts that equal lm-eval's ``generate_until``; it joins
    schedule.py    the rows of a batch: which are read, in what order, which go on; ids only
    sampling.py    the next token: greedy, or a numbered draw from the most probable ones
    stopping.py    when a text ends: stop strings, end tokens, no more room; where it is cut
    runner.py      the model with its keys and values
    completion.py  what text new tokens add to a prompt
    generate_choice.py        choose_generator: that loop where it agrees with plain, else transformers'
    generate_transformers.py  texts by transformers' own loop
    company.py   which rows may share a batch there
    probe.py     what generation is tried with

This module imports nothing. No torch in ``requests``, ``encode``, ``forest``, ``plan``, ``packs``, ``parts``,
``schedule``, ``stopping`` and ``completion``.
"""
