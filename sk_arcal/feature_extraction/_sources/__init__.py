"""Where a backbone's module comes from: one file per kind of source, and what they share.

A source says what it is (``digest``) and where (``device``), makes the module (``load``), writes
itself down (``to_dict``), can be told that things changed (``refresh``), and travels by pickle in
bytes.

===================================  ==========================================================
``_live``                            a module in memory; what travels is a reference to its
                                     spilled copy
``_spilled``                         that reference, in another process
``_factory``, ``_weights``           an importable function, and perhaps a safetensors file
``_pretrained``, ``_hub``            a name on a hub or a folder, read by transformers
``_tokenizer``                       tokenizers: objects, names, functions
``_digest``, ``_describe``,          content of a module as one number
``_tensors``, ``_code``
``_spill``, ``_files``               modules on disk: weights that can be mapped, and a skeleton
``_loaded``, ``_companions``         what this process has loaded; one lock per module
``_handle``, ``_document``           what a backbone can do with any of them; as plain data
===================================  ==========================================================
"""
