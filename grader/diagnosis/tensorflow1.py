"""TensorFlow 1 in TensorFlow 2: a third of the notebooks found in public are this old."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

# TensorFlow 1 names that only moved: (old name under tf., what to write now).
MOVED = (
    ("random_normal", "tf.random.normal"),
    ("random_uniform", "tf.random.uniform"),
    ("truncated_normal", "tf.random.truncated_normal"),
    ("set_random_seed", "tf.random.set_seed"),
    ("log", "tf.math.log"),
    ("encode_base64", "tf.io.encode_base64"),
    ("decode_raw", "tf.io.decode_raw"),
    ("read_file", "tf.io.read_file"),
    ("gfile", "tf.io.gfile"),
    ("div", "tf.math.divide"),
    ("mod", "tf.math.floormod"),
    ("layers", "tf.keras.layers"),
    ("matrix_inverse", "tf.linalg.inv"),
    ("to_float", "tf.cast(x, tf.float32)"),
    ("to_int32", "tf.cast(x, tf.int32)"),
)

NO_TF = r"module 'tensorflow(?:\._api[\w.]*)?' has no attribute "

RULES: tuple[Rule, ...] = (
    Rule(
        id="tf1-eager",
        message=NO_TF + r"'(?:enable_eager_execution|enable_v2_behavior)'",
        text="TensorFlow 2 is always eager. Delete this line.",
        old="tf.enable_eager_execution()",
    ),
    Rule(
        id="tf1-graph",
        message=NO_TF + r"'(?P<name>Session|InteractiveSession|placeholder|global_variables_initializer|get_variable|"
        r"get_default_graph|reset_default_graph|variable_scope|ConfigProto)'",
        text="tf.{name} is TensorFlow 1: sessions and placeholders are gone. In TensorFlow 2 write plain Python: "
        "compute with tensors directly, or build a Keras model and call fit.",
        old="sess.run(y, feed_dict={x: data})",
        new="y = f(data)",
    ),
    Rule(
        id="tf1-contrib",
        message=r"(?:'contrib'|'tensorflow\.contrib[\w.]*')",
        text="tf.contrib was removed with TensorFlow 2. Use tf.keras, or the package that took the part over.",
        swap=(r"\btf\.contrib\.layers\b", "tf.keras.layers"),
    ),
    Rule(
        id="tf1-gradient-descent",
        message=r"has no attribute 'GradientDescentOptimizer'",
        text="The optimizers live in Keras now; gradient descent is called SGD there.",
        swap=(r"tf\.train\.GradientDescentOptimizer", "tf.keras.optimizers.SGD"),
        old="tf.train.GradientDescentOptimizer(0.01)",
        new="tf.keras.optimizers.SGD(0.01)",
    ),
    Rule(
        id="tf1-optimizer",
        message=r"has no attribute '(?P<name>\w+)Optimizer'",
        text="The optimizers live in Keras now.",
        swap=(r"tf\.train\.(\w+)Optimizer", r"tf.keras.optimizers.\1"),
        old="tf.train.{name}Optimizer(0.001)",
        new="tf.keras.optimizers.{name}(0.001)",
    ),
    Rule(
        id="tf1-global-step",
        message=r"get_or_create_global_step|keyword argument 'global_step'",
        text="There is no global step any more: the optimizer counts in optimizer.iterations. Leave the argument out.",
        swap=(r",\s*global_step\s*=\s*[\w.]+(?:\(\))?", ""),
        old="optimizer.apply_gradients(pairs, global_step=step)",
        new="optimizer.apply_gradients(pairs)",
    ),
    *(
        Rule(
            id=f"tf1-{name.replace('_', '-')}",
            kinds=("AttributeError",),
            message=NO_TF + rf"'{name}'",
            text=f"tf.{name} has another name since TensorFlow 2: {now}.",
            swap=(rf"\btf\.{name}\b", now) if "(" not in now else None,
            old=f"tf.{name}",
            new=now,
        )
        for name, now in MOVED
    ),
    Rule(
        id="tf1-logging",
        message=NO_TF + r"'(?:logging|app|flags)'",
        text="tf.logging, tf.app and tf.flags are gone. Delete the line, or set the level of TensorFlow's logger.",
        old="tf.logging.set_verbosity(tf.logging.ERROR)",
        new='tf.get_logger().setLevel("ERROR")',
    ),
    Rule(
        id="tf1-estimator",
        message=NO_TF + r"'(?:estimator|feature_column)'",
        text="Estimators were removed from TensorFlow. Build a Keras model: define, compile, fit, evaluate.",
    ),
    Rule(
        id="tf1-losses",
        message=r"keras\.(?:losses|metrics)' has no attribute",
        text="tf.losses and tf.metrics are Keras's now, and some names went. Name the loss by its Keras class.",
        old="tf.losses.sparse_softmax_cross_entropy(labels, logits)",
        new="tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)",
    ),
    Rule(
        id="tf1-examples",
        message=r"No module named 'tensorflow\.examples",
        text="The tutorial package was removed. Keras loads the same digits.",
        old="from tensorflow.examples.tutorials.mnist import input_data",
        new="(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()",
    ),
    Rule(
        id="tf1-iterator",
        message=r"has no attribute '(?:make_one_shot_iterator|make_initializable_iterator|output_shapes|output_types)'",
        text="A data set is iterated directly, and element_spec tells shapes and types.",
        old="iterator = dataset.make_one_shot_iterator()",
        new="for batch in dataset:",
    ),
)
