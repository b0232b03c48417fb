"""What the package exports, and what importing and using it brings into a process."""

import subprocess
import sys

import langchain_wordllama


def test_all_imports() -> None:
    assert sorted(langchain_wordllama.__all__) == ["WordLlamaEmbeddings", "__version__", "texts_and_vectors"]
    assert all(hasattr(langchain_wordllama, name) for name in langchain_wordllama.__all__)


def test_embedding_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from langchain_wordllama import WordLlamaEmbeddings\n"
        "embeddings = WordLlamaEmbeddings()\n"
        "embeddings.embed_query('a query')\n"
        "embeddings.embed_documents(['a document of some words'] * 5000)\n"
        "heavy = ('torch', 'sentence_transformers', 'transformers', 'datasets', 'wordllama', 'model2vec')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
