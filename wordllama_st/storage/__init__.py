"""Files on disk: safetensors, tokenizers, staged outputs, and errors of the Hub."""
