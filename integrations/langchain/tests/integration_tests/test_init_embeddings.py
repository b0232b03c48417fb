"""LangChain's ``init_embeddings``, whose providers are a closed list.

With sentence-transformers and langchain-huggingface (and so PyTorch) installed, its "huggingface" provider takes our
names after ``wordllama_st.register()``, and so gives the same vectors.
"""

import numpy as np
import pytest
from langchain_classic.embeddings import init_embeddings

from langchain_wordllama import WordLlamaEmbeddings

pytestmark = pytest.mark.filterwarnings("ignore:.*init_embeddings:langchain_core._api.LangChainDeprecationWarning")


def test_it_has_no_place_for_other_providers() -> None:
    with pytest.raises(ValueError, match="'wordllama' is not supported"):
        init_embeddings("wordllama:wordllama-l2-supercat-256")


def test_its_provider_huggingface_takes_our_names(embeddings: WordLlamaEmbeddings) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("langchain_huggingface")
    import wordllama_st

    wordllama_st.register()
    try:
        stock = init_embeddings("huggingface:wordllama-l2-supercat-256", encode_kwargs={"normalize_embeddings": True})
    finally:
        wordllama_st.unregister()
    texts = ["one text", "another text", "größer als 東京"]
    np.testing.assert_allclose(stock.embed_documents(texts), embeddings.embed_documents(texts), rtol=0, atol=1e-6)  # type: ignore[union-attr]
