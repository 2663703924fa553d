"""Recorder as a callback of the libraries that own the training loop; each needs its extra."""
