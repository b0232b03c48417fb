"""Embed a column of a Spark table, as a function over its Arrow batches.

    pip install "wordllama-st[data]" pyspark
    python examples/encode_spark.py [texts.parquet] [--column text] [--out embedded.parquet]

Without a file, it embeds a thousand made-up texts. Spark needs Java; on a cluster, every machine needs wordllama-st.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from wordllama_st import StaticEncoder
from wordllama_st.static.dataset.embedding import EMBEDDING, EmbedTexts


def main() -> None:
    """Embed the texts, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--column", default="text")
    parser.add_argument("--model", default="wordllama-l2-supercat-256")
    parser.add_argument("--out")
    options = parser.parse_args()
    model, column = options.model, options.column

    def embed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        embed_texts = EmbedTexts(StaticEncoder.from_pretrained(model), column)  # in the worker, once a partition
        for batch in batches:
            table = embed_texts(pa.Table.from_batches([batch]))
            # Spark has no lists of a fixed size.
            vectors = table.column(EMBEDDING).cast(pa.list_(pa.float32()))
            yield from table.set_column(table.num_columns - 1, EMBEDDING, vectors).to_batches()

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers on this machine have this environment
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    if options.file:
        texts = spark.read.parquet(options.file)
    else:
        texts = spark.createDataFrame(
            [(f"Llama number {number} eats grass.",) for number in range(1000)], "text string"
        )
    fields = ", ".join(f"`{name}` {kind}" for name, kind in texts.dtypes)
    embedded = texts.mapInArrow(embed, f"{fields}, embedding array<float>")
    if options.out:
        embedded.write.parquet(options.out)
    print(f"{embedded.count()} rows, {len(embedded.first()['embedding'])} dimensions: {', '.join(embedded.columns)}")
    spark.stop()


if __name__ == "__main__":
    main()
