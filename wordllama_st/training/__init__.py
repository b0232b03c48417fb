"""From a codebook or a static model to a trained one, with the Trainer and losses of sentence-transformers."""
