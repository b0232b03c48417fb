"""Use the tools of the wordllama package with any static model; here with the released one that comes with it.

    pip install wordllama-st
    python examples/wordllama_toolkit.py                    # or with the directory of a model that you have baked

Neither torch nor a network is needed.
"""

from __future__ import annotations

import logging
import sys

import numpy as np

from wordllama_st import StaticEncoder

QUERY = "I went to the car"
CANDIDATES = ["I went to the shop", "I went to the truck", "I drove to the vehicle", "The cat sleeps all day"]
STORY = (
    "The ferry left the harbour at noon. The sea was calm and the gulls followed us. By evening we saw the island. "
    "Meanwhile the bank raised its interest rates. Markets fell at once. Analysts had expected a smaller step."
)


def main() -> None:
    """Print one line for each tool."""
    encoder = StaticEncoder.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else "wordllama-l2-supercat-256")
    wl = encoder.to_wordllama()
    logging.getLogger().setLevel(logging.WARNING)  # importing wordllama sets the root logger to INFO

    print("similarity  ", f"{wl.similarity(QUERY, CANDIDATES[1]):.3f}")
    print("key         ", max(CANDIDATES, key=wl.key(QUERY)))
    print("rank        ", [f"{score:.2f} {text}" for text, score in wl.rank(QUERY, CANDIDATES)])
    print("topk        ", wl.topk(QUERY, CANDIDATES, k=2))
    print("filter      ", wl.filter(QUERY, CANDIDATES, threshold=0.3))
    print("deduplicate ", wl.deduplicate([*CANDIDATES, "I went to a shop"], threshold=0.7))
    print("cluster     ", wl.cluster([*CANDIDATES, "A kitten naps"], k=2, max_iterations=100, tolerance=1e-4)[0])
    print("split       ", wl.split(STORY, target_size=120))

    # 256 dimensions as 256 bits: 32 bytes instead of 1,024, compared by the number of bits that differ.
    query, bits = (encoder.encode(texts, precision="ubinary") for texts in (QUERY, CANDIDATES))
    print("binary      ", [f"{int(count)} bits" for count in np.bitwise_count(query ^ bits).sum(axis=1)])


if __name__ == "__main__":
    main()
