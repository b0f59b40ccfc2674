"""Layers and models, Keras 1 and 2 in Keras 3."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

# Layer arguments of Keras 1: (old, new).
KERAS_1_ARGUMENTS = (
    ("output_dim", "units"),
    ("init", "kernel_initializer"),
    ("W_regularizer", "kernel_regularizer"),
    ("b_regularizer", "bias_regularizer"),
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("nb_filter", "filters"),
    ("bias", "use_bias"),
)

RULES: tuple[Rule, ...] = (
    *(
        Rule(
            id=f"keras1-{old.replace('_', '-').lower()}",
            message=rf"(?:Unrecognized keyword arguments passed to \w+: \{{|keyword argument )'{old}'",
            text=f"This argument of Keras 1 is called {new} now.",
            swap=(rf"\b{old}\s*=", f"{new}="),
            old=f"{old}=…",
            new=f"{new}=…",
        )
        for old, new in KERAS_1_ARGUMENTS
    ),
    Rule(
        id="keras1-dim-ordering",
        message=r"'dim_ordering'",
        text="The argument is called data_format, and its values channels_last and channels_first. Leave it out.",
        swap=(r""",\s*dim_ordering\s*=\s*["']\w+["']""", ""),
        old='MaxPooling2D((2, 2), dim_ordering="th")',
        new="MaxPooling2D((2, 2))",
    ),
    Rule(
        id="keras1-model",
        message=r"passed to Model: \{'(?:input|output)'",
        text="The arguments of Model are called inputs and outputs.",
        swap=(r"\b(input|output)\s*=", r"\1s="),
        old="Model(input=x, output=y)",
        new="Model(inputs=x, outputs=y)",
    ),
    Rule(
        id="keras1-units",
        message=r"Dense\.__init__\(\) missing 1 required positional argument: 'units'",
        text="The argument is called units.",
        swap=(r"\boutput_dim\s*=", "units="),
        old="Dense(output_dim=10)",
        new="Dense(units=10)",
    ),
    Rule(
        id="keras1-rate",
        message=r"Dropout\.__init__\(\) missing 1 required positional argument: 'rate'",
        text="The argument is called rate.",
        swap=(r"\bp\s*=", "rate="),
        old="Dropout(p=0.5)",
        new="Dropout(rate=0.5)",
    ),
    Rule(
        id="add-variable",
        message=r"Layer\.add_variable\(\)|has no attribute 'add_variable'|passed as a keyword argument. Received: "
        r"add_weight",
        text="In a layer of your own, write self.add_weight(shape=…, name=…), all by keyword.",
        old='self.add_variable("kernel", shape=[n, self.units])',
        new='self.add_weight(shape=(n, self.units), name="kernel")',
    ),
    Rule(
        id="layer-shape",
        message=r"object has no attribute '(?P<name>input_shape|output_shape)'",
        text="Layers have no {name} any more; the tensor has.",
        swap=(r"\.(input|output)_shape\b", r".\1.shape"),
        old="layer.{name}",
        new="layer.output.shape",
    ),
    Rule(
        id="reset-states",
        message=r"has no attribute 'reset_states'",
        text="A metric is reset by reset_state (singular).",
        swap=(r"\.reset_states\(", ".reset_state("),
        old="metric.reset_states()",
        new="metric.reset_state()",
    ),
    Rule(
        id="to-yaml",
        message=r"has no attribute 'to_yaml'",
        text="Keras writes no YAML any more; use JSON.",
        swap=(r"\.to_yaml\(", ".to_json("),
        old="model.to_yaml()",
        new="model.to_json()",
    ),
    Rule(
        id="symbolic-numpy",
        message=r"'(?:Symbolic|Keras)?Tensor' object has no attribute 'numpy'|numpy\(\) is only available when eager",
        text="Inside a tf.function, or while a model is being built, tensors have no values yet, so no numpy(). "
        "Compute with tf "
        "functions there, or look at the values outside.",
    ),
)
