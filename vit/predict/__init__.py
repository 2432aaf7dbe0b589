"""Answers for pictures without labels, and the files that they are written to. Importing this loads no torch."""

from enum import Enum


class Format(Enum):
    auto = "auto"  # by the suffix of out
    csv = "csv"  # file, then label_1, probability_1, label_2, ...
    jsonl = "jsonl"  # one JSON object a line
    kaggle = "kaggle"  # as the source, a competition's sample table; else id,label, an id a file's name without suffix
    npz = "npz"  # features: arrays names and features
    parquet = "parquet"  # features: columns names and features
