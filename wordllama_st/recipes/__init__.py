"""Recipes: whole training jobs as functions. The commands of the same names call these and print the report.

Arguments that several recipes share:

- ``path``: directory to save to; it appears when it is complete, and None saves nothing. ``overwrite`` replaces a model
  that is there. Static models are saved in the layout that sentence-transformers 3.2 and later load.
- ``datasets``: .csv, .tsv, .json, .jsonl or .parquet files, ids of Hub datasets, or ``datasets.Dataset`` objects, with
  the ``columns`` to use, in order, and the ``split`` of a Hub dataset. Two columns of text are pairs, three or more are
  triplets (anchor, positive, negatives), two and a number are scored pairs. Each batch comes from one dataset.
- ``hold_out``: share of the rows to evaluate on. ``mine_negatives``: hard negatives to give each pair.
- ``dims``: Matryoshka dims; the model's dim and its halves down to 64 if None.
- ``binary``: train sign embeddings, by straight-through estimation. ``bf16``: train in mixed precision.
- ``stay_close``: how strongly each token's embedding is held to its start (L2-SP; Li et al., ICML 2018).
- ``batch_size``: rows per step in each process; 256 (1,024 for distillation) if None, fewer for little data.
- ``learning_rate``: 1e-3 for a projection, and 0.05 of its root mean square for a table, if None.
- ``checkpoint_dir``: directory of checkpoints; training resumes from the last complete one. None keeps none.
- ``show_progress_bar``: None shows it when this package logs at INFO.

In several processes (``torchrun``, ``accelerate launch``), ``train``, ``distill`` and ``finetune`` share each batch,
and the main process writes.

All of them raise OutputExistsError if ``path`` must not be replaced; TrainingError if training diverges, or checkpoints
belong to another run; and CodebookError, DatasetError, DocumentError or ModelLoadError if a source cannot be read.
"""

from wordllama_st.recipes.adaptation import adapt
from wordllama_st.recipes.distillation import compress, distill
from wordllama_st.recipes.teacher import embed_with_teacher
from wordllama_st.recipes.training import finetune, train

__all__ = ["adapt", "compress", "distill", "embed_with_teacher", "finetune", "train"]
