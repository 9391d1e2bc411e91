"""Which pieces does a tokenizer learn from texts? The same from the same texts, in every process and in any order."""

from training.vocabulary.train import CLS, PAD, PAD_ID, SEP, UNKNOWN, train_tokenizer

__all__ = ["CLS", "PAD", "PAD_ID", "SEP", "UNKNOWN", "train_tokenizer"]
