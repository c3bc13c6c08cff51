"""Protocol ``nous-2023``: documents to requests to metrics, called by the ``!function`` lines of ``configs/tasks``.

Functions named ``*_text`` return the context, ``*_choices`` the choices as they stand in the data, ``*_target`` the
gold answer, ``*_picks`` what the metrics choose, ``*_gold`` which positions are right where the target is none, and
``*_results`` the metric values of one document. The rules are those under which the published scores
were made (lm-evaluation-harness 0.3, branch ``add-agieval``); ``evalkit verify`` proves it by hashes.
"""
