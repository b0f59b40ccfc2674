"""TensorFlow 1 in TensorFlow 2: a third of the notebooks found in public are this old."""

from __future__ import annotations

from grader.diagnosis.find import all_of, attribute, below, imported, keyword, magic, method, path, wrap
from grader.diagnosis.rule import Rule

# TensorFlow 1 names that only moved: (old name under tf., what to write now).
MOVED = (
    ("random_normal", "random.normal"),
    ("random_uniform", "random.uniform"),
    ("truncated_normal", "random.truncated_normal"),
    ("random_shuffle", "random.shuffle"),
    ("set_random_seed", "random.set_seed"),
    ("log", "math.log"),
    ("ceil", "math.ceil"),
    ("lin_space", "linspace"),
    ("arg_max", "argmax"),
    ("arg_min", "argmin"),
    ("sub", "subtract"),
    ("mul", "multiply"),
    ("div", "math.divide"),
    ("mod", "math.floormod"),
    ("encode_base64", "io.encode_base64"),
    ("decode_raw", "io.decode_raw"),
    ("decode_csv", "io.decode_csv"),
    ("read_file", "io.read_file"),
    ("gfile", "io.gfile"),
    ("parse_single_example", "io.parse_single_example"),
    ("FixedLenFeature", "io.FixedLenFeature"),
    ("string_to_number", "strings.to_number"),
    ("py_func", "py_function"),
    ("layers", "keras.layers"),
    ("matrix_inverse", "linalg.inv"),
)
# Casts that were functions of their own: (old name, type).
CASTS = (
    ("to_float", "float32"),
    ("to_double", "float64"),
    ("to_int32", "int32"),
    ("to_int64", "int64"),
)
# Names of graphs and sessions, which TensorFlow 2 has nothing in the place of.
GRAPH = (
    "Session",
    "InteractiveSession",
    "placeholder",
    "global_variables_initializer",
    "initialize_all_variables",
    "global_variables",
    "trainable_variables",
    "local_variables_initializer",
    "get_variable",
    "get_default_graph",
    "reset_default_graph",
    "variable_scope",
    "ConfigProto",
    "GPUOptions",
    "assign",
)
# Optimizers of tf.train, by what they are called in Keras.
OPTIMIZERS = {
    "GradientDescent": "SGD",
    "Momentum": "SGD",
    "Adam": "Adam",
    "RMSProp": "RMSprop",
    "Adagrad": "Adagrad",
    "Adadelta": "Adadelta",
    "Ftrl": "Ftrl",
}
# Arguments of TensorFlow 1's functions: (old, new).
ARGUMENTS = (("keep_dims", "keepdims"), ("reduction_indices", "axis"), ("dimension", "axis"), ("squeeze_dims", "axis"))

NO_TF = r"(?:module 'tensorflow(?:\._api[\w.]*)?' has no attribute |import name )"

RULES: tuple[Rule, ...] = (
    Rule(
        id="tf1-eager",
        message=NO_TF + r"'(?:enable_eager_execution|enable_v2_behavior)'",
        text="TensorFlow 2 is always eager. Delete this line.",
        zh="TensorFlow 2 始终是即时执行（eager）模式。删除这一行。",
        find=all_of(
            wrap("tensorflow.enable_eager_execution", ""),
            wrap("tensorflow.enable_v2_behavior", ""),
        ),
        before="fails",
        old="tf.enable_eager_execution()",
    ),
    Rule(
        id="tf1-graph",
        message=NO_TF + rf"'(?P<name>{'|'.join(GRAPH)})'",
        text="tf.{name} is TensorFlow 1: sessions and placeholders are gone. In TensorFlow 2 write plain Python: "
        "compute with tensors directly, or build a Keras model and call fit.",
        zh="tf.{name} 属于 TensorFlow 1：会话（Session）和占位符（placeholder）已不存在。在 TensorFlow 2 "
        "中直接写普通的 "
        "Python：直接用张量计算，或者搭建 Keras 模型并调用 fit。",
        find=all_of(*(path(f"tensorflow.{name}") for name in GRAPH)),
        before="fails",
        old="sess.run(y, feed_dict={x: data})",
        new="y = f(data)",
    ),
    Rule(
        id="tf1-contrib",
        message=r"(?:'contrib'|'tensorflow\.contrib[\w.]*')",
        text="tf.contrib was removed with TensorFlow 2. Use tf.keras, or the package that took the part over.",
        zh="tf.contrib 已在 TensorFlow 2 中移除。请改用 tf.keras，或接管了该部分的软件包。",
        find=below("tensorflow.contrib"),
        before="fails",
        old="tf.contrib.layers.flatten(x)",
        new="tf.keras.layers.Flatten()(x)",
    ),
    *(
        Rule(
            id="tf1-gradient-descent" if old == "GradientDescent" else f"tf1-optimizer-{old.lower()}",
            message=rf"has no attribute '{old}Optimizer'",
            text=f"The optimizers live in Keras now; this one is called {new} there.",
            zh=f"优化器现在在 Keras 里；这一个叫做 {new}。",
            find=path(f"tensorflow.train.{old}Optimizer", f"tensorflow.keras.optimizers.{new}"),
            before="fails",
            old=f"tf.train.{old}Optimizer(0.001)",
            new=f"tf.keras.optimizers.{new}(0.001)",
        )
        for old, new in OPTIMIZERS.items()
    ),
    Rule(
        id="tf1-optimizer",
        message=r"has no attribute '(?P<name>\w+)Optimizer'",
        text="The optimizers live in Keras now.",
        zh="优化器现在在 Keras 里。",
        old="tf.train.{name}Optimizer(0.001)",
        new="tf.keras.optimizers.{name}(0.001)",
    ),
    Rule(
        id="tf1-global-step",
        message=r"get_or_create_global_step|keyword argument 'global_step'",
        text="There is no global step any more: the optimizer counts in optimizer.iterations. Leave the argument out.",
        zh="不再有全局步数（global step）：优化器自己在 optimizer.iterations 中计数。去掉这个参数。",
        find=keyword("global_step", None, calls=("apply_gradients", "minimize")),
        before="fails",
        old="optimizer.apply_gradients(pairs, global_step=step)",
        new="optimizer.apply_gradients(pairs)",
    ),
    *(
        Rule(
            id=f"tf1-{name.replace('_', '-').lower()}",
            kinds=("AttributeError", "ImportError"),
            message=NO_TF + rf"'{name}'",
            text=f"tf.{name} has another name since TensorFlow 2: tf.{now}.",
            zh=f"从 TensorFlow 2 起，tf.{name} 改名为 tf.{now}。",
            find=path(f"tensorflow.{name}", f"tensorflow.{now}"),
            before="fails",
            old=f"tf.{name}",
            new=f"tf.{now}",
        )
        for name, now in MOVED
    ),
    *(
        Rule(
            id=f"tf1-{name.replace('_', '-').lower()}",
            kinds=("AttributeError", "ImportError"),
            message=NO_TF + rf"'{name}'",
            text=f"tf.{name} is gone since TensorFlow 2: use tf.cast.",
            zh=f"从 TensorFlow 2 起不再有 tf.{name}：请用 tf.cast。",
            find=wrap(f"tensorflow.{name}", f"{{tf}}.cast({{args}}, {{tf}}.{dtype})"),
            before="fails",
            old=f"tf.{name}(x)",
            new=f"tf.cast(x, tf.{dtype})",
        )
        for name, dtype in CASTS
    ),
    *(
        Rule(
            id=f"tf1-argument-{old.replace('_', '-')}",
            message=rf"unexpected keyword argument '{old}'",
            text=f"This argument of TensorFlow 1 is called {new} now.",
            zh=f"TensorFlow 1 的这个参数现在叫做 {new}。",
            find=keyword(old, new, home=r"tensorflow\."),
            before="fails",
            old=f"tf.reduce_sum(x, {old}=1)",
            new=f"tf.reduce_sum(x, {new}=1)",
        )
        for old, new in ARGUMENTS
    ),
    Rule(
        id="tf1-keep-prob",
        message=r"unexpected keyword argument 'keep_prob'",
        text="tf.nn.dropout takes the share to drop, rate, which is 1 - keep_prob.",
        zh="tf.nn.dropout 的参数现在是丢弃的比例 rate，即 1 - keep_prob。",
        old="tf.nn.dropout(x, keep_prob=0.8)",
        new="tf.nn.dropout(x, rate=0.2)",
    ),
    Rule(
        id="tf1-cross-entropy",
        message=r"has no attribute '(?:softmax_cross_entropy_with_logits_v2)'",
        text="The version 2 is the only one now.",
        zh="现在只有这个函数的第 2 版，名字里不再带 _v2。",
        find=path(
            "tensorflow.nn.softmax_cross_entropy_with_logits_v2", "tensorflow.nn.softmax_cross_entropy_with_logits"
        ),
        before="fails",
        old="tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=z)",
        new="tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=z)",
    ),
    Rule(
        id="tf1-resize-images",
        message=r"has no attribute 'resize_images'",
        text="The function is called tf.image.resize now.",
        zh="这个函数现在叫做 tf.image.resize。",
        find=path("tensorflow.image.resize_images", "tensorflow.image.resize"),
        before="fails",
        old="tf.image.resize_images(x, [64, 64])",
        new="tf.image.resize(x, [64, 64])",
    ),
    Rule(
        id="tf1-summary",
        message=r"has no attribute '(?P<name>FileWriter|merge_all|histogram_summary|scalar_summary)'",
        text="tf.summary.{name} is TensorFlow 1. Leave it out, or give fit the TensorBoard callback.",
        zh="tf.summary.{name} 属于 TensorFlow 1。去掉它，或者把 TensorBoard 回调交给 fit。",
        find=all_of(path("tensorflow.summary.FileWriter"), path("tensorflow.summary.merge_all")),
        before="fails",
        old='writer = tf.summary.FileWriter("logs")',
        new='writer = tf.summary.create_file_writer("logs")',
    ),
    Rule(
        id="tf1-saver",
        message=r"has no attribute 'Saver'",
        text="tf.train.Saver is gone. Save a Keras model with model.save, other variables with tf.train.Checkpoint.",
        zh="tf.train.Saver 已不存在。Keras 模型用 model.save 保存，其他变量用 tf.train.Checkpoint。",
        find=path("tensorflow.train.Saver"),
        before="fails",
        old="saver = tf.train.Saver()",
        new="checkpoint = tf.train.Checkpoint(model=model)",
    ),
    Rule(
        id="tf1-logging",
        message=NO_TF + r"'(?:logging|app|flags)'",
        text="tf.logging, tf.app and tf.flags are gone. Delete the line, or set the level of TensorFlow's logger.",
        zh="tf.logging、tf.app 和 tf.flags 已不存在。删除这一行，或设置 TensorFlow 日志记录器的级别。",
        find=all_of(below("tensorflow.logging"), below("tensorflow.app"), below("tensorflow.flags")),
        before="fails",
        old="tf.logging.set_verbosity(tf.logging.ERROR)",
        new='tf.get_logger().setLevel("ERROR")',
    ),
    Rule(
        id="tf1-estimator",
        message=NO_TF + r"'(?:estimator|feature_column)'",
        text="Estimators were removed from TensorFlow. Build a Keras model: define, compile, fit, evaluate.",
        zh="Estimator 已从 TensorFlow 中移除。请搭建 Keras 模型：定义、compile、fit、evaluate。",
        find=below("tensorflow.estimator"),
        before="fails",
        old="classifier = tf.estimator.DNNClassifier(feature_columns, hidden_units=[10])",
        new="classifier = keras.Sequential([keras.layers.Dense(10), keras.layers.Dense(3)])",
    ),
    Rule(
        id="tf1-losses",
        message=r"keras\.losses' has no attribute '(?P<name>(?:sparse_)?(?:softmax|sigmoid)_cross_entropy|"
        r"mean_squared_error|absolute_difference|log_loss|huber_loss|get_total_loss)",
        text="tf.losses is Keras's now, and '{name}' went. Name the loss by its Keras class.",
        zh="tf.losses 现在属于 Keras，'{name}' 已不存在。请用 Keras 的损失类。",
        find=all_of(
            *(
                wrap(f"tensorflow.losses.{old}", f"{{tf}}.keras.losses.{new}(from_logits=True)({{args}})")
                for old, new in (
                    ("sparse_softmax_cross_entropy", "SparseCategoricalCrossentropy"),
                    ("softmax_cross_entropy", "CategoricalCrossentropy"),
                    ("sigmoid_cross_entropy", "BinaryCrossentropy"),
                )
            ),
            *(
                wrap(f"tensorflow.losses.{old}", f"{{tf}}.keras.losses.{new}()({{args}})")
                for old, new in (
                    ("mean_squared_error", "MeanSquaredError"),
                    ("absolute_difference", "MeanAbsoluteError"),
                )
            ),
        ),
        before="fails",
        old="tf.losses.sparse_softmax_cross_entropy(labels, logits)",
        new="tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)",
    ),
    Rule(
        id="tf1-metrics",
        message=r"keras\.metrics' has no attribute 'accuracy'",
        text="tf.metrics.accuracy is TensorFlow 1. Metrics are objects now: make one, then update it.",
        zh="tf.metrics.accuracy 属于 TensorFlow 1。现在指标是对象：先创建，再更新。",
        find=path("tensorflow.metrics.accuracy"),
        before="fails",
        old="accuracy = tf.metrics.accuracy(labels, predictions)",
        new="accuracy = tf.keras.metrics.Accuracy(); accuracy.update_state(labels, predictions)",
    ),
    Rule(
        id="tf1-examples",
        message=r"No module named 'tensorflow\.examples|has no attribute 'examples'",
        text="The tutorial package was removed. Keras loads the same digits.",
        zh="教程用的这个包已被移除。Keras 可以载入同样的手写数字。",
        find=all_of(
            imported(
                r"tensorflow\.examples\.tutorials\.mnist",
                "input_data",
                lambda cell, statement, found: (
                    "import tensorflow as tf; (x_train, y_train), (x_test, y_test) = "
                    "tf.keras.datasets.mnist.load_data()"
                ),
            ),
            below("tensorflow.examples"),
        ),
        before="fails",
        old="from tensorflow.examples.tutorials.mnist import input_data",
        new="(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()",
    ),
    Rule(
        id="tf1-iterator",
        message=r"has no attribute '(?:make_one_shot_iterator|make_initializable_iterator)'",
        text="A data set is iterated directly: for batch in dataset, or iter(dataset).",
        zh="数据集可以直接遍历：for batch in dataset，或者 iter(dataset)。",
        find=method("make_one_shot_iterator", "iter({base})"),
        before="fails",
        old="iterator = dataset.make_one_shot_iterator()",
        new="iterator = iter(dataset)",
    ),
    Rule(
        id="tf1-dataset-shapes",
        message=r"Dataset' object has no attribute '(?P<name>output_shapes|output_types)'",
        text="element_spec tells shapes and types of a data set.",
        zh="数据集的形状和类型用 element_spec 查看。",
        find=all_of(
            attribute("output_types", "element_spec", base=r"(?i)data|\bds\b|train|test"),
            attribute("output_shapes", "element_spec", base=r"(?i)data|\bds\b|train|test"),
        ),
        before="fails",
        old="dataset.{name}",
        new="dataset.element_spec",
    ),
    Rule(
        id="tf1-version-magic",
        message=r"[Mm]agic (?:function )?`?%tensorflow_version\b",
        text="%tensorflow_version exists on Colab only. Delete the line: TensorFlow 2 is here already.",
        zh="%tensorflow_version 只在 Colab 上存在。删除这一行：这里已经是 TensorFlow 2。",
        find=magic(r"^%tensorflow_version\b"),
        before="idle",
        old="%tensorflow_version 2.x",
    ),
    Rule(
        id="tf1-name-gone",
        kinds=("AttributeError",),
        message=r"module 'tensorflow(?:\._api\.v2\.(?P<part>[\w.]+))?' has no attribute '(?P<name>\w+)'",
        line=r"tf\.(?:train|summary|image|nn|python_io|saved_model|losses|metrics|test)\b",
        text="'{name}' is not in TensorFlow 2 any more. Look up what took its place, or write it with tf.keras.",
        zh="TensorFlow 2 中已没有 '{name}'。请查找它的替代，或用 tf.keras 改写。",
    ),
)
