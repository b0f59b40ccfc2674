"""Layers and models, Keras 1 and 2 in Keras 3."""

from __future__ import annotations

from collections.abc import Iterator

from grader.diagnosis.code import Edit
from grader.diagnosis.find import KERAS, Finder, Hit, Look, all_of, attribute, keyword
from grader.diagnosis.rule import Rule

# Layer arguments of Keras 1: (old, new).
KERAS_1_ARGUMENTS = (
    ("output_dim", "units"),
    ("init", "kernel_initializer"),
    ("W_regularizer", "kernel_regularizer"),
    ("b_regularizer", "bias_regularizer"),
    ("W_constraint", "kernel_constraint"),
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("nb_filter", "filters"),
    ("nb_row", "kernel_size"),
    ("bias", "use_bias"),
    ("inner_activation", "recurrent_activation"),
)
LAYERS = KERAS + r"layers"


def _arguments_first(old: str, new: str, name: str) -> Finder:
    """``name(old=3)``: the first argument of a layer under the name it had in Keras 1."""
    return keyword(old, new, calls=(name,), home=LAYERS)


def _weight_by_keyword(look: Look) -> Iterator[Hit]:
    """``self.add_variable("kernel", shape=…)`` and ``self.add_weight("kernel", …)``: the name is a keyword now."""
    cell = look.cell
    for name in ("add_variable", "add_weight"):
        for call in cell.calls.get(name, ()):
            end = cell.end(call.func)
            edits = [Edit(end - len(name), end, "add_weight")] if name == "add_variable" else []
            if call.args and cell.text(call.args[0])[:1] in "\"'":
                start = cell.start(call.args[0])
                edits.append(Edit(start, start, "name="))
            if edits:
                yield Hit(cell, cell.start(call), tuple(edits))


RULES: tuple[Rule, ...] = (
    *(
        Rule(
            id=f"keras1-{old.replace('_', '-').lower()}",
            message=rf"(?:Unrecognized keyword arguments passed to \w+: \{{|keyword argument )'{old}'",
            text=f"This argument of Keras 1 is called {new} now.",
            zh=f"Keras 1 的这个参数现在叫做 {new}。",
            # Keras 3 has an output_dim of its own in Embedding.
            find=_arguments_first(old, new, "Dense") if old == "output_dim" else keyword(old, new, home=LAYERS),
            before="fails",
            old=f"{old}=…",
            new=f"{new}=…",
        )
        for old, new in KERAS_1_ARGUMENTS
    ),
    Rule(
        id="keras1-dim-ordering",
        message=r"'dim_ordering'",
        text="The argument is called data_format, and its values channels_last and channels_first. Leave it out.",
        zh="这个参数现在叫做 data_format，取值为 channels_last 和 channels_first。去掉它即可。",
        find=keyword("dim_ordering", None, home=LAYERS),
        before="fails",
        old='MaxPooling2D((2, 2), dim_ordering="th")',
        new="MaxPooling2D((2, 2))",
    ),
    Rule(
        id="keras1-model",
        message=r"passed to (?:Model|Functional): \{'(?:input|output)'",
        text="The arguments of Model are called inputs and outputs.",
        zh="Model 的参数叫做 inputs 和 outputs。",
        find=all_of(
            keyword("input", "inputs", calls=("Model",), home=KERAS),
            keyword("output", "outputs", calls=("Model",), home=KERAS),
        ),
        before="fails",
        old="Model(input=x, output=y)",
        new="Model(inputs=x, outputs=y)",
    ),
    Rule(
        id="keras1-units",
        message=r"(?:Dense|LSTM|GRU|SimpleRNN)\.__init__\(\) missing 1 required positional argument: 'units'",
        text="The argument is called units.",
        zh="这个参数叫做 units。",
        find=all_of(*(_arguments_first("output_dim", "units", name) for name in ("Dense", "LSTM", "GRU", "SimpleRNN"))),
        old="Dense(output_dim=10)",
        new="Dense(units=10)",
    ),
    Rule(
        id="keras1-rate",
        message=r"Dropout\.__init__\(\) missing 1 required positional argument: 'rate'",
        text="The argument is called rate.",
        zh="这个参数叫做 rate。",
        find=_arguments_first("p", "rate", "Dropout"),
        before="fails",
        old="Dropout(p=0.5)",
        new="Dropout(rate=0.5)",
    ),
    Rule(
        id="layer-weights",
        message=r"Unrecognized keyword arguments passed to \w+: \{'weights'",
        text="A layer takes no weights when it is made. Build it, then call set_weights; for an Embedding give "
        "embeddings_initializer a Constant.",
        zh="创建层时不能传入权重。先建好层，再调用 set_weights；Embedding 可以给 embeddings_initializer 一个 "
        "Constant。",
        old="Embedding(n, 100, weights=[matrix])",
        new="Embedding(n, 100, embeddings_initializer=keras.initializers.Constant(matrix))",
    ),
    Rule(
        id="add-variable",
        message=r"Layer\.add_variable\(\)|has no attribute 'add_variable'|passed as a keyword argument. Received: "
        r"add_weight",
        text="In a layer of your own, write self.add_weight(shape=…, name=…), all by keyword.",
        zh="在自己的层里，写 self.add_weight(shape=…, name=…)，全部用关键字参数。",
        find=_weight_by_keyword,
        before="fails",
        old='self.add_variable("kernel", shape=[n, self.units])',
        new='self.add_weight(shape=(n, self.units), name="kernel")',
    ),
    *(
        Rule(
            id=f"layer-{side}-shape",
            message=rf"object has no attribute '{side}_shape'",
            text=f"Layers have no {side}_shape any more; the tensor has.",
            zh=f"层不再有 {side}_shape；张量有形状。",
            find=attribute(f"{side}_shape", f"{side}.shape", base=r"layer|get_layer\("),
            before="fails" if side == "output" else "",
            old=f"layer.{side}_shape",
            new=f"layer.{side}.shape",
        )
        for side in ("input", "output")
    ),
    Rule(
        id="reset-states",
        message=r"has no attribute 'reset_states'",
        text="A metric is reset by reset_state (singular).",
        zh="指标用 reset_state（单数）重置。",
        find=attribute("reset_states", "reset_state", base=r"(?i)loss|acc|metric|mean|mae|mse", called=True),
        before="fails",
        old="metric.reset_states()",
        new="metric.reset_state()",
    ),
    Rule(
        id="to-yaml",
        message=r"has no attribute 'to_yaml'",
        text="Keras writes no YAML any more; use JSON.",
        zh="Keras 不再写 YAML；请用 JSON。",
        find=attribute("to_yaml", "to_json", called=True),
        before="fails",
        old="model.to_yaml()",
        new="model.to_json()",
    ),
    Rule(
        id="symbolic-numpy",
        message=r"'(?:Symbolic|Keras)?Tensor' object has no attribute 'numpy'|numpy\(\) is only available when eager",
        text="Inside a tf.function, or while a model is being built, tensors have no values yet, so no numpy(). "
        "Compute with tf functions there, or look at the values outside.",
        zh="在 tf.function 里，或者正在搭建模型时，张量还没有值，因此不能用 numpy()。请在那里用 tf 的函数计算，"
        "或在外面查看数值。",
        old="tf.print(loss.numpy())",
        new="tf.print(loss)",
    ),
    Rule(
        id="keras-tensor-function",
        message=r"A KerasTensor cannot be used as input to a TensorFlow function",
        text="While a model is being built, use keras.ops or a layer instead of a tf function.",
        zh="搭建模型时，请用 keras.ops 或层代替 tf 的函数。",
        old="x = tf.reshape(x, (-1, 784))",
        new="x = keras.layers.Reshape((784,))(x)",
    ),
)
