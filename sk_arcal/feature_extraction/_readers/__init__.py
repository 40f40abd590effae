"""Readers: what routers and depth sites of a network did, by forward hooks.

``_recording`` opens and closes the hooks; ``_finding`` says where they go, from what was registered
(``_registry``), what describes itself (``_described``), what transformers declares
(``_transformers``, ``_gates``) and the depth attention that it does not declare (``_depth``).
"""
