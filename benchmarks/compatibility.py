"""A static model in the oldest sentence-transformers that has StaticEmbedding: the same vectors as in this one?

    python benchmarks/compatibility.py OLD_PYTHON

OLD_PYTHON is the interpreter of an environment with that version and without wordllama-st; `make compatibility` makes
one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import sentence_transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

from wordllama_st import Codebook, StaticEncoder, bake, build_model
from wordllama_st.static import released

TEXTS = ["The weather is lovely today.", "", "多言語 текст\n\tdef f(x): ...", "long " * 2000]
ENCODE = """
import json, sys
import sentence_transformers
path, *texts = json.load(sys.stdin)
vectors = sentence_transformers.SentenceTransformer(path).encode(texts)
print(json.dumps([sentence_transformers.__version__, vectors.tolist()]))
"""


def main() -> None:
    """Bake with and without a Normalize behind, write a table as two factors, load in both versions, compare."""
    old_python = sys.argv[1]
    codebook = Codebook.from_pretrained(released.DEFAULT_MODEL)
    baked = [SentenceTransformer(modules=[*build_model(codebook), *behind]) for behind in ([], [Normalize()])]
    factors = StaticEncoder.from_pretrained(released.DEFAULT_MODEL).table.plain()
    projection = np.random.default_rng(0).normal(size=(factors.dim, 1024), scale=1 / 32).astype(np.float32)
    factors = replace(factors, projection=projection, normalize=True)
    for model in (*baked, StaticEncoder(factors)):
        with TemporaryDirectory() as scratch:
            path = str(Path(scratch) / "model")
            if isinstance(model, StaticEncoder):
                model.save_pretrained(path)
            else:
                bake(model, path)
            ours = SentenceTransformer(path).encode(TEXTS)
            job = json.dumps([path, *TEXTS])
            output = subprocess.run([old_python, "-c", ENCODE], input=job, check=True, capture_output=True, text=True)
        version, theirs = json.loads(output.stdout.splitlines()[-1])
        difference = np.abs(ours - np.array(theirs, dtype=ours.dtype)).max()
        what = "two factors" if isinstance(model, StaticEncoder) else f"{type(model[-1]).__name__} last"
        print(f"{what}: {sentence_transformers.__version__} and {version} differ by {difference:.1e}")
        if difference > 1e-6:
            sys.exit("The vectors differ.")


if __name__ == "__main__":
    main()
