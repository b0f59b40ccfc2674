"""Names that do not exist, and what everybody imports them from."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

# Names that everybody imports under one alias: (name, the import).
USUAL_IMPORTS = (
    ("np", "import numpy as np"),
    ("pd", "import pandas as pd"),
    ("plt", "import matplotlib.pyplot as plt"),
    ("tf", "import tensorflow as tf"),
    ("keras", "from tensorflow import keras"),
    ("layers", "from tensorflow.keras import layers"),
    ("os", "import os"),
    ("time", "import time"),
    ("math", "import math"),
    ("random", "import random"),
)

RULES: tuple[Rule, ...] = (
    *(
        Rule(
            id=f"import-{name}",
            kinds=("NameError",),
            message=rf"name '{name}' is not defined",
            text=f"'{name}' has not been imported. Put the import into the first cell.",
            new=line,
        )
        for name, line in USUAL_IMPORTS
    ),
    Rule(
        id="name-near",
        kinds=("NameError",),
        message=r"name '(?P<name>\w+)'.*Did you mean: '(?P<near>\w+)'",
        text="There is no '{name}' here. It looks like a misspelt '{near}'.",
        old="{name}",
        new="{near}",
    ),
    Rule(
        id="name-unknown",
        kinds=("NameError",),
        message=r"name '(?P<name>\w+)' is not defined",
        text="'{name}' does not exist when this cell runs. It may be misspelt, defined in a later cell or one that "
        "failed, "
        "or left over from an earlier session: use Restart and Run All before you hand in.",
    ),
)
