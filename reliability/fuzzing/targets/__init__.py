"""The targets, by subject; a worker imports only the module that its own is in."""

#: The module of each target.
MODULES = {
    name: module
    for module, names in {
        "static_models": ("safetensors", "tokenizer", "static-model", "static-table"),
        "codebooks": ("gguf", "checkpoint", "codebook", "config", "vocabulary", "trained-model"),
        "documents": ("html", "markdown", "plain-text", "python", "pdf"),
        "tables": ("training-data", "evaluation-data", "beir", "vectors", "dataset-input"),
        "encoded_texts": ("texts",),
        "records": ("manifest", "checkpoints"),
    }.items()
    for name in names
}
#: Those that take long for an input.
SLOW = {"texts", "config", "vocabulary", "trained-model", "pdf", "training-data", "evaluation-data"}
