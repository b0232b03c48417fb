"""Encoding from Parquet to Parquet beside StaticEncoder in memory, and the memory that it takes.

    python benchmarks/dataset.py [--rows N] [--threads N] [--ray]

With ``--ray``, a Ray cluster of as many cores on this machine stands beside, whose start is not timed.

Every round runs both in turn, over the same texts and with as many threads, and ratios are taken within a round: of the
speeds, and of the CPU time, which says more where other programs run beside them. The peaks of memory are those of a
process of its own for N rows and for 10 N.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from encoding import MODEL, read_texts
from memory import resident, watch_peak

from wordllama_st import StaticEncoder, encode_dataset
from wordllama_st.static.dataset.output import PART_ROWS

ROUNDS = 3
GROUP = 50_000


def write_rows(path: Path, texts: list[str], rows: int) -> None:
    """A Parquet file of texts, over and over, with a number each."""
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    source = cycle(texts)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, GROUP):
            count = min(GROUP, rows - start)
            ids = range(start, start + count)
            writer.write_table(pa.table({"id": list(ids), "text": list(islice(source, count))}, schema=schema))


def timed(job: Callable[[], object]) -> tuple[float, float]:
    """The seconds and the seconds of CPU time that a job takes."""
    started, started_cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - started, time.process_time() - started_cpu


def print_peak(source: str, out: str, threads: int) -> None:
    """Encode a file in this process, and print the most memory that its first tenth took, and the rest."""
    encoder = StaticEncoder.from_pretrained(MODEL)
    before, tenth = resident(), pq.read_metadata(source).num_rows // PART_ROWS // 10
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(encode_dataset, encoder, source, out, num_threads=threads)
        with watch_peak() as first:
            while not job.done() and len(list(Path(out).glob("part-*.parquet"))) < tenth:
                time.sleep(0.05)
        with watch_peak() as rest:
            job.result()
    print(
        f"{first.resident / 2**20:,.0f} MB resident at most in the first tenth, {rest.resident / 2**20:,.0f} MB in the "
        f"rest, {before / 2**20:,.0f} MB before"
    )


def print_ray(encoder: StaticEncoder, source: Path, folder: Path, rows: int, threads: int) -> None:
    """Compare the speed of the Ray engine with that of as many threads; its first run, which warms it up, apart."""
    import ray

    ray.init(address="local", num_cpus=threads, include_dashboard=False, log_to_driver=False)
    ratios = []
    for number in range(ROUNDS + 1):
        local = timed(partial(encode_dataset, encoder, source, folder / f"local-{number}", num_threads=threads))[0]
        on_ray = timed(partial(encode_dataset, encoder, source, folder / f"ray-{number}", engine="ray"))[0]
        print(
            f"{number:>8}{rows / local:>12,.0f}{rows / on_ray:>12,.0f}  texts/s, threads and Ray: {local / on_ray:.0%}"
        )
        ratios.append(local / on_ray)
    ray.shutdown()
    print(f"Median of the ratios, without the first: {median(ratios[1:]):.0%}")


def main() -> None:
    """Print the speeds, their ratios and the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ray", action="store_true", help="compare the Ray engine with the threads, and nothing else")
    parser.add_argument("--peak", nargs=2, metavar=("SOURCE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.threads
    if options.peak:
        print_peak(*options.peak, threads)
        return

    texts = read_texts(None)
    encoder = StaticEncoder.from_pretrained(MODEL)
    with TemporaryDirectory() as folder:
        source = Path(folder) / "texts.parquet"
        write_rows(source, texts, options.rows)
        if options.ray:
            print_ray(encoder, source, Path(folder), options.rows, threads)
            return
        many = list(islice(cycle(texts), options.rows))
        encoder.encode(many[:20_000])
        print(f"{options.rows:,} texts of {sum(map(len, texts)) / len(texts):.0f} characters, {threads} threads")
        print(f"{'':>8}{'in memory':>12}{'Parquet':>12}  texts/s;  of it, of its CPU time")
        of_speed, of_cpu = [], []
        for number in range(ROUNDS):
            in_memory = timed(partial(encoder.encode, many, num_threads=threads))
            out = Path(folder) / f"out-{number}"
            parquet = timed(partial(encode_dataset, encoder, source, out, num_threads=threads))
            of_speed.append(in_memory[0] / parquet[0])
            of_cpu.append(in_memory[1] / parquet[1])
            speeds = "".join(f"{options.rows / seconds:>12,.0f}" for seconds, _ in (in_memory, parquet))
            print(f"{number:>8}{speeds}  {of_speed[-1]:>17.0%}{of_cpu[-1]:>17.0%}")
        print(f"Median of the ratios: {median(of_speed):.0%}, {median(of_cpu):.0%}")
        del many
        for rows in (options.rows, 10 * options.rows):
            write_rows(source, texts, rows)
            command = [
                sys.executable,
                __file__,
                "--threads",
                str(threads),
                "--peak",
                str(source),
                f"{folder}/peak-{rows}",
            ]
            print(
                f"{rows:>12,} rows: {subprocess.run(command, check=True, capture_output=True, text=True).stdout}",
                end="",
            )


if __name__ == "__main__":
    main()
