"""Texts and training data, from files, folders of documents and installed packages."""
