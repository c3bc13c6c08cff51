"""Protocol ``nous-2023``: documents to requests to metrics, called by the ``!function`` lines of ``configs/tasks``.

Functions named ``*_text`` return the context, ``*_choices`` the choices as they stand in the data, ``*_target`` the
gold answer, and ``*_results`` the metric values of one document; what may stand beside these is said in
`evalkit.tasks.choosing`. The rules are those under which the published scores were made (lm-evaluation-harness 0.3,
branch ``add-agieval``); ``evalkit verify`` proves it by hashes.
"""
