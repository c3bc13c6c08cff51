"""Runs' records: what was run, on what, with what result. One set of types, one writer, one reader for every format.

``model`` has the types, ``samples`` one document's part, ``writing`` makes a record and writes it, ``reading`` reads it
again, ``former`` reads what earlier versions wrote, ``lm_eval_files`` what lm-eval wrote; ``export`` makes tables.
"""
