"""Use a released model in a framework that loads a SentenceTransformer by name: Chroma's embedding function.

    pip install "wordllama-st[st]" chromadb
    python examples/other_frameworks.py

After `register()`, the name works wherever a framework passes it to the stock class, such as
BERTopic(embedding_model=...) and KeyBERT(model=...). No network is needed.
"""

from __future__ import annotations

import tempfile
from typing import Any

import chromadb
from chromadb.config import Settings
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction

import wordllama_st

MODEL = "wordllama-l2-supercat-256"
NOTES = {
    "garden": "Prune the roses in early spring, just above an outward-facing bud.",
    "kitchen": "The dough has to rest overnight in a cold place before it is baked.",
    "bicycle": "Oil the chain every few hundred kilometres, and after riding in the rain.",
    "office": "Passwords are reset on the account page, under security.",
    "health": "Warm up before running, and stretch the calves afterwards.",
}
QUESTIONS = ("How do I look after my bike?", "I forgot my login.", "When should I cut back the flowers?")


def main() -> None:
    """Store notes on disk, open the store again, and search it."""
    wordllama_st.register()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        client = chromadb.PersistentClient(directory, Settings(anonymized_telemetry=False))
        function: Any = SentenceTransformerEmbeddingFunction(MODEL)
        notes = client.create_collection("notes", embedding_function=function)
        notes.add(ids=list(NOTES), documents=list(NOTES.values()))

        # Chroma has stored the embedding function's name and the model's, and makes the function again from these.
        notes = client.get_collection("notes")
        found = notes.query(query_texts=list(QUESTIONS), n_results=1)
    for question, ids, documents in zip(QUESTIONS, found["ids"], found["documents"] or [], strict=True):
        print(f"{question}\n  {ids[0]}: {documents[0]}")


if __name__ == "__main__":
    main()
