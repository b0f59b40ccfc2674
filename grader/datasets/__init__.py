"""The five data sets and their tiers (floor 1).

Full data is what Keras keeps in its cache folder, identified by digest; the lite tier ships with the package in
``grader/lite``. ``registry`` holds the facts, ``files`` identifies a file, ``read`` parses one, ``source`` chooses the
tier and loads it, ``carry`` moves full data to machines that cannot download it.
"""

from grader.datasets.carry import export, fetch, import_
from grader.datasets.files import cache_folder
from grader.datasets.registry import DATASETS, DataSet, KnownFile, known
from grader.datasets.source import Data, Source, Split, Status, load, resolve, status, word_index

__all__ = [
    "DATASETS",
    "Data",
    "DataSet",
    "KnownFile",
    "Source",
    "Split",
    "Status",
    "cache_folder",
    "export",
    "fetch",
    "import_",
    "known",
    "load",
    "resolve",
    "status",
    "word_index",
]
