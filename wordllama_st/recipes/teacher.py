"""The embeddings of a teacher, from files of texts to files that ``distill`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sentence_transformers import SentenceTransformer

from wordllama_st.errors import ArgumentError
from wordllama_st.static.dataset import EncodingReport
from wordllama_st.static.dataset.encode import embed_files
from wordllama_st.training.static_model import model_name
from wordllama_st.training.teacher import TEXTS_PER_FILE, check_teacher, fingerprint, load_teacher
from wordllama_st.training.teacher_column import TeacherColumn, teacher_pool


def embed_with_teacher(
    teacher: str | Path | SentenceTransformer,
    inputs: str | Path | Sequence[str | Path],
    path: str | Path,
    *,
    text_column: str | None = None,
    prompt_name: str | None = None,
    precision: Literal["float16", "float32"] = "float16",
    dim: int | None = None,
    batch_size: int = 32,
    bf16: bool = False,
    similarity: Literal["cosine"] | None = None,
    devices: Sequence[str] | None = None,
    engine: Literal["threads", "ray"] = "threads",
    address: str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> EncodingReport:
    """Encode the texts of files with a teacher, into Parquet files that :func:`~wordllama_st.distill` reads.

    The output is that of :func:`~wordllama_st.encode_dataset`, in parts of 4,096 rows: all columns of the inputs, and
    ``embedding`` of unit length. A run that was killed is taken up by the same arguments; batch size and devices may
    be others.

    Args:
        teacher: A SentenceTransformer of cosine similarity, its directory or its Hub id.
        inputs: As for :func:`~wordllama_st.encode_dataset`: files, directories, globs and URLs.
        path: The output directory, on disk.
        text_column: The column of texts; the only one that is text if None. All columns are kept.
        prompt_name: Of the teacher's prompt to put in front of each text; its default prompt if None.
        precision: Of the embeddings.
        dim: Matryoshka dim to truncate embeddings to, before they are scaled.
        batch_size: Texts that the teacher encodes together.
        bf16: Load the teacher in bfloat16, which is faster on many processors.
        similarity: Compare the teacher's embeddings by this instead of its own similarity function.
        devices: As torch names them, ``["cuda:0", "cuda:1"]``, a process for each; ``"cpu"`` several times for several
            processes that share the cores. A script that names several needs ``if __name__ == "__main__":``. None is
            the first GPU, or the CPU.
        engine: ``"ray"`` for the tasks of a cluster of Ray, each of which encodes on a core of a CPU; otherwise, it is
            this process, or those of ``devices``. ``address`` is as for :func:`~wordllama_st.encode_dataset`.
        on_error: ``"stop"`` at a damaged file; or ``"skip"`` what comes behind the damage, and report the file.
        overwrite: Whether to delete an earlier run's output first.

    Returns:
        The report. A row whose text is null has a null for an embedding, and is counted.

    Raises:
        ArgumentError: If the teacher's similarity, its prompt, a device or another argument does not fit.
        DatasetError: If an input does not exist or is damaged, or the column of texts is missing or not text.
        OutputExistsError: If ``path`` has another run's output or anything else in it.
        OutputError: If a part cannot be computed or written; those that were finished stay.
        ClusterError: As for :func:`~wordllama_st.encode_dataset`.
    """
    if devices and engine == "ray":
        raise ArgumentError("Ray's tasks run where the cluster has room; leave the devices out, or the engine.")
    model = load_teacher(teacher, bf16=bf16, similarity=similarity)
    check_teacher(model)
    prompts, chosen = model.prompts, prompt_name or model.default_prompt_name
    if chosen is not None and chosen not in prompts:
        raise ArgumentError(f"The teacher has no prompt {chosen!r}; it has {', '.join(prompts) or 'none'}.")
    own = model.get_embedding_dimension()
    if dim is not None and own is not None and dim > own:
        raise ArgumentError(f"The teacher's embeddings have {own} dimensions, and cannot be truncated to {dim}.")
    made_of = {
        "model_sha256": fingerprint(model),
        "normalize": True,
        "truncate_dim": dim,
        "prompt": prompts[chosen] if chosen is not None else None,
    }
    if engine == "ray":
        model.to("cpu")
    with teacher_pool(model, devices) as pool:
        return embed_files(
            TeacherColumn(model, text_column or "", precision, dim, prompt_name, batch_size, pool),
            inputs,
            path,
            made_of=made_of,
            model=model_name(teacher),
            part_rows=TEXTS_PER_FILE,
            num_threads=1 if engine == "threads" else None,  # one part at a time, while the next one is read
            engine=engine,
            address=address,
            on_error=on_error,
            overwrite=overwrite,
            show_progress_bar=show_progress_bar,
        )
