"""Keras 1 and 2 modules that Keras 3 has moved or dropped."""

from __future__ import annotations

import ast
import re

from grader.diagnosis.code import Cell
from grader.diagnosis.find import all_of, imported, modules, path, replace_imported, wrap
from grader.diagnosis.rule import Rule

KERAS = r"(?P<keras>(?:tensorflow\.)?keras)"
OLD_LAYERS = KERAS + (
    r"\.layers\.(?:core|convolutional|normalization|pooling|merge|recurrent|embeddings|advanced_activations|noise|local|"
    r"wrappers|convolutional_recurrent|cudnn_recurrent)"
)
OPTIMIZERS = ("Adam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam")


def _keras(found: re.Match[str]) -> str:
    return found["keras"]


def _np_utils(_cell: Cell, statement: ast.ImportFrom, _found: re.Match[str]) -> str:
    keras = (statement.module or "keras.utils").removesuffix(".utils")
    others = [alias.name for alias in statement.names if alias.name != "np_utils"]
    return f"from {keras}.utils import {', '.join(['to_categorical', *others])}"


RULES: tuple[Rule, ...] = (
    Rule(
        id="np-utils",
        message=r"'np_utils'|No module named '[\w.]*np_utils'",
        text="np_utils is gone; to_categorical is in keras.utils itself.",
        zh="np_utils 已不存在；to_categorical 就在 keras.utils 里。",
        find=all_of(
            imported(r"(?:tensorflow\.)?keras\.utils", "np_utils", _np_utils),
            modules(KERAS + r"\.utils\.np_utils", lambda found: f"{_keras(found)}.utils"),
            wrap("keras.utils.np_utils.to_categorical", "{keras}.utils.to_categorical({args})"),
            wrap("tensorflow.keras.utils.np_utils.to_categorical", "{tf}.keras.utils.to_categorical({args})"),
        ),
        before="fails",
        old="from keras.utils import np_utils",
        new="from keras.utils import to_categorical",
    ),
    Rule(
        id="keras-preprocessing-text",
        message=r"No module named 'keras\.preprocessing\.text'|'keras\.preprocessing' has no attribute 'text'",
        text="Text preprocessing left Keras 3. tf.keras still has it; TextVectorization replaces it.",
        zh="Keras 3 不再包含文本预处理。tf.keras 里还有；替代它的是 TextVectorization。",
        find=modules(r"keras\.preprocessing\.text", lambda found: "tensorflow.keras.preprocessing.text"),
        before="fails",
        old="from keras.preprocessing.text import Tokenizer",
        new="from tensorflow.keras.preprocessing.text import Tokenizer",
    ),
    Rule(
        id="keras-image-generator",
        message=r"'ImageDataGenerator'",
        text="ImageDataGenerator left Keras 3. tf.keras still has it; preprocessing layers replace it.",
        zh="Keras 3 不再包含 ImageDataGenerator。tf.keras 里还有；替代它的是预处理层。",
        find=imported(
            r"keras\.preprocessing\.image",
            "ImageDataGenerator",
            lambda cell, statement, found: cell.text(statement).replace("keras.", "tensorflow.keras.", 1),
        ),
        before="fails",
        old="from keras.preprocessing.image import ImageDataGenerator",
        new="from tensorflow.keras.preprocessing.image import ImageDataGenerator",
    ),
    Rule(
        id="keras-experimental",
        message=r"keras\.layers\.experimental|layers' has no attribute 'experimental'",
        text="The experimental preprocessing layers are ordinary layers now.",
        zh="实验性的预处理层现在就是普通的层。",
        find=all_of(
            imported(
                r"(?:tensorflow\.)?keras\.layers\.experimental",
                "preprocessing",
                lambda cell, statement, found: (
                    "from tensorflow.keras import layers as "
                    + (
                        next(alias.asname for alias in statement.names if alias.name == "preprocessing")
                        or "preprocessing"
                    )
                ),
            ),
            modules(KERAS + r"\.layers\.experimental\.preprocessing", lambda found: f"{_keras(found)}.layers"),
            path("tensorflow.keras.layers.experimental.preprocessing", "tensorflow.keras.layers"),
            path("keras.layers.experimental.preprocessing", "keras.layers"),
        ),
        before="fails",
        old="layers.experimental.preprocessing.Normalization()",
        new="layers.Normalization()",
    ),
    Rule(
        id="keras-wrappers",
        message=r"'[\w.]*keras\.wrappers[\w.]*'|'(?:KerasClassifier|KerasRegressor)'",
        text="KerasClassifier and KerasRegressor left Keras; keras.wrappers has SKLearnClassifier, which takes the "
        "model.",
        zh="KerasClassifier 和 KerasRegressor 已移出 Keras；keras.wrappers 里有 SKLearnClassifier，它接收模型。",
        find=modules(KERAS + r"\.wrappers\.scikit_learn"),
        before="fails",
        old="from keras.wrappers.scikit_learn import KerasClassifier",
        new="from keras.wrappers import SKLearnClassifier",
    ),
    Rule(
        id="keras-vis-utils",
        message=r"No module named '[\w.]*keras\.utils\.(?:vis_utils|visualize_util|vis_util)'",
        text="plot_model is in keras.utils itself, and needs pydot, which is not here. model.summary() shows the "
        "layers.",
        zh="plot_model 就在 keras.utils 里，但它需要 pydot，而这里没有。model.summary() 可以显示各层。",
        find=modules(KERAS + r"\.utils\.(?:vis_utils|visualize_util)", lambda found: f"{_keras(found)}.utils"),
        before="fails",
        old="from keras.utils.vis_utils import plot_model",
        new="from keras.utils import plot_model",
    ),
    Rule(
        id="keras-old-module",
        message=r"No module named "
        r"'(?:tensorflow\.)?keras\.(?P<name>layers\.\w+|engine[\w.]*|utils\.\w+|callbacks\.\w+|objectives|"
        r"initializations|backend\.\w+)",
        text="keras.{name} does not exist any more. Layers are imported from keras.layers, models from keras.models, "
        "helpers from keras.utils.",
        zh="keras.{name} 已不存在。层从 keras.layers 导入，模型从 keras.models 导入，辅助函数从 keras.utils 导入。",
        find=all_of(
            modules(OLD_LAYERS, lambda found: f"{_keras(found)}.layers"),
            modules(KERAS + r"\.callbacks\.callbacks", lambda found: f"{_keras(found)}.callbacks"),
            modules(KERAS + r"\.engine\.(?:topology|base_layer)", lambda found: f"{_keras(found)}.layers"),
            modules(KERAS + r"\.engine(?:\.\w+)?", lambda found: f"{_keras(found)}.models"),
            modules(KERAS + r"\.utils\.generic_utils", lambda found: f"{_keras(found)}.utils"),
            modules(KERAS + r"\.objectives", lambda found: f"{_keras(found)}.losses"),
            modules(KERAS + r"\.initializations", lambda found: f"{_keras(found)}.initializers"),
        ),
        before="fails",
        old="from keras.layers.core import Dense",
        new="from keras.layers import Dense",
    ),
    *(
        Rule(
            id=f"keras-optimizer-{name.lower()}",
            message=rf"'{name.lower()}' from '[\w.]*keras\.optimizers|keras\.optimizers' has no attribute "
            rf"'{name.lower()}'",
            text="Optimizer classes begin with a capital letter: Adam, SGD, RMSprop.",
            zh="优化器的类名以大写字母开头：Adam、SGD、RMSprop。",
            find=all_of(
                imported(r"(?:tensorflow\.)?keras\.optimizers", name.lower(), replace_imported(name)),
                path(f"keras.optimizers.{name.lower()}", f"keras.optimizers.{name}"),
                path(f"tensorflow.keras.optimizers.{name.lower()}", f"tensorflow.keras.optimizers.{name}"),
            ),
            before="fails",
            old=f"from keras.optimizers import {name.lower()}",
            new=f"from keras.optimizers import {name}",
        )
        for name in OPTIMIZERS
    ),
    Rule(
        id="keras-optimizer-case",
        message=r"keras\.optimizers' has no attribute '(?P<name>\w+)'",
        text="keras.optimizers has no '{name}'. Its classes are Adam, SGD, RMSprop, Adagrad and their kin.",
        zh="keras.optimizers 没有 '{name}'。其中的类有 Adam、SGD、RMSprop、Adagrad 等。",
        old="keras.optimizers.{name}()",
        new="keras.optimizers.Adam()",
    ),
    Rule(
        id="keras-session",
        message=r"'(?P<name>get_session|set_session)'",
        text="Keras 3 has no session. Delete the line: TensorFlow 2 computes directly.",
        zh="Keras 3 没有会话（session）。删除这一行：TensorFlow 2 直接计算。",
        find=all_of(
            *(
                wrap(f"{module}.{name}", "")
                for module in ("keras.backend", "tensorflow.keras.backend")
                for name in ("get_session", "set_session")
            )
        ),
        before="fails",
        old="K.set_session(sess)",
    ),
    Rule(
        id="keras-backend",
        message=r"module '[\w.]*keras\.backend' has no attribute '(?P<name>\w+)'",
        text="keras.backend.{name} left Keras 3. Use the function of keras.ops or of tf.",
        zh="Keras 3 不再有 keras.backend.{name}。请用 keras.ops 或 tf 中的函数。",
        find=all_of(
            *(
                path(f"keras.backend.{name}", f"keras.ops.{name}")
                for name in (
                    *("mean", "sum", "max", "min", "abs", "square", "sqrt", "exp", "log", "round", "clip", "dot"),
                    *("maximum", "minimum", "equal", "argmax", "cast", "concatenate", "reshape", "prod", "stack"),
                )
            )
        ),
        old="K.{name}(x)",
        new="keras.ops.{name}(x)",
    ),
    Rule(
        id="removed-name",
        message=r"(?:import name|has no attribute) "
        r"'(?P<name>merge|Merge|model_from_yaml|multi_gpu_model|scikit_learn|TimeDistributedDense|HDF5Matrix|"
        r"CuDNNLSTM|CuDNNGRU|l1l2|print_summary)'",
        text="{name} was removed from Keras. Rewrite this step with what Keras 3 offers (keras.layers.concatenate, "
        "model.to_json, LSTM, one model per program).",
        zh="{name} 已从 Keras 中移除。请用 Keras 3 提供的功能改写这一步（keras.layers.concatenate、model.to_json、"
        "LSTM、每个程序一个模型）。",
        find=imported(
            r"(?:tensorflow\.)?keras\.(?:layers|models|utils|regularizers)",
            r"merge|Merge|model_from_yaml|multi_gpu_model|TimeDistributedDense|HDF5Matrix|CuDNNLSTM|CuDNNGRU|l1l2",
        ),
        before="fails",
        old="from keras.layers import merge",
        new="from keras.layers import concatenate",
    ),
    Rule(
        id="keras-metric-function",
        message=r"'[\w.]*keras\.(?:losses|metrics)' has no attribute '(?P<name>\w+)'",
        text="keras.losses and keras.metrics have no function '{name}' in Keras 3. Give compile its name as text, or "
        "use the class.",
        zh="Keras 3 的 keras.losses 和 keras.metrics 里没有函数 '{name}'。把名字作为字符串交给 compile，"
        "或使用对应的类。",
        old="model.compile(loss=keras.losses.mse)",
        new='model.compile(loss="mse")',
    ),
)
