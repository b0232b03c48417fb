"""Static models on disk, in the layouts of the runtimes that read them. Nothing here needs torch."""
