"""Names that do not exist: what everybody imports them from, and what they may be misspelt for."""

from __future__ import annotations

import builtins
import difflib

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
    ("Sequential", "from tensorflow.keras.models import Sequential"),
    ("Dense", "from tensorflow.keras.layers import Dense"),
    ("to_categorical", "from tensorflow.keras.utils import to_categorical"),
)
# What labs of this kind call, and so what a misspelt attribute was meant to be.
WORDS = """
    Sequential Model Input Dense Flatten Dropout Conv1D Conv2D MaxPooling2D AveragePooling2D GlobalAveragePooling2D
    GlobalAveragePooling1D GlobalMaxPooling2D BatchNormalization LayerNormalization Normalization Embedding LSTM GRU
    SimpleRNN Bidirectional Activation Reshape Concatenate Add ReLU LeakyReLU Softmax Rescaling Lambda
    TextVectorization compile fit evaluate predict summary save save_weights load_weights load_model get_layer
    get_weights set_weights trainable_variables trainable_weights non_trainable_weights weights layers optimizer
    history add pop build call add_weight train_on_batch test_on_batch count_params to_json get_config from_config
    predict_on_batch Adam SGD RMSprop Adagrad Adadelta Adamax Nadam Ftrl AdamW learning_rate apply_gradients
    iterations SparseCategoricalCrossentropy CategoricalCrossentropy BinaryCrossentropy MeanSquaredError
    MeanAbsoluteError SparseCategoricalAccuracy CategoricalAccuracy BinaryAccuracy Accuracy Mean AUC Precision Recall
    update_state result reset_state ModelCheckpoint EarlyStopping TensorBoard ReduceLROnPlateau LambdaCallback
    CSVLogger Callback datasets mnist fashion_mnist imdb load_data utils to_categorical get_file pad_sequences
    plot_model set_random_seed models losses metrics optimizers callbacks regularizers initializers activations
    preprocessing applications constant Variable convert_to_tensor cast reshape matmul reduce_mean reduce_sum
    reduce_max argmax one_hot concat stack zeros ones zeros_like ones_like expand_dims squeeze transpose range
    linspace random normal uniform shuffle square sqrt exp log abs maximum minimum equal GradientTape gradient watch
    function data Dataset from_tensor_slices batch map prefetch repeat take cache device config list_physical_devices
    list_logical_devices image resize array asarray arange argsort astype shape dtype mean std sum min max median
    unique where newaxis sort copy flatten ravel tolist append concatenate vstack hstack random_sample randint
    permutation seed dot isnan round clip read_csv DataFrame Series head tail describe drop dropna fillna isna isnull
    get_dummies groupby sample values columns index iloc loc value_counts replace apply to_numpy merge corr plot show
    figure subplot subplots imshow title xlabel ylabel legend grid xticks yticks hist scatter bar savefig colorbar
    axis xlim ylim tight_layout format split join strip lower upper items keys get update extend insert remove
    startswith endswith numpy
"""
VOCABULARY = frozenset(WORDS.split())
# What Keras's own calls take, and so what a misspelt argument was meant to be.
ARGUMENT_WORDS = """
    epochs batch_size validation_data validation_split validation_freq verbose callbacks shuffle class_weight
    sample_weight initial_epoch steps_per_epoch optimizer loss metrics loss_weights learning_rate momentum nesterov
    from_logits units filters kernel_size strides padding activation use_bias kernel_initializer bias_initializer
    kernel_regularizer input_shape pool_size rate input_dim output_dim mask_zero name dtype trainable monitor patience
    restore_best_weights min_delta filepath save_best_only save_weights_only save_freq num_words maxlen truncating
    num_classes test_size random_state buffer_size drop_remainder axis shape seed
"""
ARGUMENTS = frozenset(ARGUMENT_WORDS.split())
#: Below this likeness a suggestion is noise: "modle" and "model" are at 0.8, "x" and "y" at 0.
LIKENESS = 0.75

RULES: tuple[Rule, ...] = (
    *(
        Rule(
            id=f"import-{name}",
            kinds=("NameError",),
            message=rf"name '{name}' is not defined",
            text=f"'{name}' has not been imported. Put the import into the first cell.",
            zh=f"'{name}' 没有导入。请把导入语句放在第一个单元格。",
            new=line,
        )
        for name, line in USUAL_IMPORTS
    ),
    Rule(
        id="name-near",
        kinds=("NameError",),
        message=r"name '(?P<name>\w+)'.*Did you mean: '(?P<near>\w+)'",
        text="There is no '{name}' here. It looks like a misspelt '{near}'.",
        zh="这里没有 '{name}'。看起来是 '{near}' 拼写有误。",
        old="{name}",
        new="{near}",
    ),
    Rule(
        id="name-later",
        kinds=("NameError",),
        message=r"name '(?P<name>\w+)'.*only made in cell (?P<cell>\d+)",
        text="'{name}' is only made in cell {cell}, below: the notebook runs from top to bottom. Move that cell up.",
        zh="'{name}' 要到下面的第 {cell} 个单元格才出现：笔记本从上到下运行。请把那个单元格移上来。",
    ),
    Rule(
        id="name-unknown",
        kinds=("NameError",),
        message=r"name '(?P<name>\w+)' is not defined|local variable '(?P<local>\w+)' referenced before",
        text="'{name}' does not exist when this cell runs. It may be misspelt, defined in a later cell or one that "
        "failed, or left over from an earlier session: use Restart and Run All before you hand in.",
        zh="运行这个单元格时 '{name}' 不存在。可能拼写有误，可能在后面的或出错的单元格中定义，"
        "也可能是之前会话遗留的：提交前请使用"
        "“重启并运行全部”。",
    ),
    Rule(
        id="follows",
        message=r"(?!)",
        text="'{name}' was to be made in cell {cell}, which failed. Mend that cell first: this error then goes.",
        zh="'{name}' 应由第 {cell} 个单元格给出，而它出错了。请先改好那个单元格：这个错误随之消失。",
    ),
)


def nearest(name: str, known: set[str]) -> str:
    """What a name may be misspelt for, or ""."""
    if len(name) < 3 or len(name) > 60:
        return ""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=LIKENESS)
    return near[0] if near and near[0] != name else ""


def builtin_names() -> set[str]:
    """Names that Python always has."""
    return {name for name in dir(builtins) if not name.startswith("_")}
