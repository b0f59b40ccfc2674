"""Compile, fit and what comes of it; shapes, labels and types."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(
        id="optimizer-lr",
        message=r"not recognized: \{'lr'",
        text="The argument is called learning_rate.",
        swap=(r"\blr\s*=", "learning_rate="),
        old="Adam(lr=0.001)",
        new="Adam(learning_rate=0.001)",
    ),
    Rule(
        id="optimizer-lr-attribute",
        message=r"object has no attribute 'lr'",
        text="The attribute is called learning_rate.",
        swap=(r"\.lr\b", ".learning_rate"),
        old="model.optimizer.lr",
        new="model.optimizer.learning_rate",
    ),
    Rule(
        id="optimizer-legacy",
        message=r"optimizers\.legacy",
        text="Keras 3 has no legacy optimizers; its own take their place. Do not install tf_keras for this.",
        swap=(r"optimizers\.legacy\.", "optimizers."),
        old="tf.keras.optimizers.legacy.Adam()",
        new="tf.keras.optimizers.Adam()",
    ),
    Rule(
        id="optimizer-unknown",
        message=r"Could not interpret optimizer identifier",
        text="compile needs one of Keras's optimizers; those of tf.train or tf.compat.v1 do not work with it.",
        old="model.compile(optimizer=tf.compat.v1.train.AdamOptimizer())",
        new="model.compile(optimizer=tf.keras.optimizers.Adam())",
    ),
    Rule(
        id="optimizer-minimize",
        message=r"object has no attribute 'minimize'",
        text="Optimizers of Keras 3 do not minimise by themselves. Take the gradient with a tape and apply it.",
        old="optimizer.minimize(loss, variables)",
        new="optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))",
    ),
    Rule(
        id="nb-epoch",
        message=r"unexpected keyword argument 'nb_epoch'",
        text="The argument is called epochs.",
        swap=(r"\bnb_epoch\s*=", "epochs="),
        old="model.fit(x, y, nb_epoch=10)",
        new="model.fit(x, y, epochs=10)",
    ),
    Rule(
        id="metrics-list",
        message=r"Expected `?metrics`? argument to be a list",
        text="metrics takes a list, even for one metric.",
        swap=(r"metrics\s*=\s*([\"'][^\"']*[\"']|[\w.]+\(\))", r"metrics=[\1]"),
        old='model.compile(metrics="accuracy")',
        new='model.compile(metrics=["accuracy"])',
    ),
    Rule(
        id="not-compiled",
        message=r"You must call `?compile\(\)`?",
        text="This model was not compiled. Call compile before fit or evaluate; a model that was loaded with "
        "compile=False, "
        "or built again, has to be compiled too.",
        new='model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])',
    ),
    Rule(
        id="no-layers",
        message=r"because it has no layers",
        text="The Sequential model is empty: add its layers before it is used.",
        new="model.add(keras.layers.Dense(10))",
    ),
    Rule(
        id="generator-methods",
        message=r"has no attribute '(?P<name>fit|evaluate|predict)_generator'",
        text="{name} takes generators itself.",
        swap=(r"\b(fit|evaluate|predict)_generator\b", r"\1"),
        old="model.{name}_generator(data)",
        new="model.{name}(data)",
    ),
    Rule(
        id="predict-classes",
        message=r"has no attribute 'predict_classes'",
        text="predict_classes is gone: take the most probable class of each prediction (for one sigmoid: > 0.5).",
        swap=(r"(\w+)\.predict_classes\(([^()]*)\)", r"np.argmax(\1.predict(\2), axis=1)"),
        old="model.predict_classes(x)",
        new="np.argmax(model.predict(x), axis=1)",
    ),
    Rule(
        id="predict-proba",
        message=r"has no attribute 'predict_proba'",
        text="predict returns the probabilities itself.",
        swap=(r"\.predict_proba\(", ".predict("),
        old="model.predict_proba(x)",
        new="model.predict(x)",
    ),
    Rule(
        id="history-acc",
        kinds=("KeyError",),
        message=r"^'?(?P<prefix>val_)?acc'?$",
        text="history.history is keyed by the names given to compile: with metrics=['accuracy'] that is "
        "'{prefix}accuracy'.",
        swap=(r"""(["'])(val_)?acc\1""", r"\1\2accuracy\1"),
        old="history.history['{prefix}acc']",
        new="history.history['{prefix}accuracy']",
    ),
    Rule(
        id="history-name",
        kinds=("KeyError",),
        message=r""
        r"^'?(?P<prefix>val_)?(?P<name>mean_absolute_error|mean_squared_error|binary_crossentropy|accuracy|mae|mse)'?$",
        text="history.history has no '{prefix}{name}': it is keyed by the names given to compile, and val_… exists "
        "only "
        "with validation data. Print history.history.keys().",
    ),
    Rule(
        id="history-val",
        kinds=("KeyError",),
        message=r"^'?val_loss'?$",
        text="There is no val_loss since fit was given no validation data.",
        old="model.fit(x, y)",
        new="model.fit(x, y, validation_split=0.2)",
    ),
    Rule(
        id="callback-logs",
        message=r"not supported between instances of 'NoneType' and '(?:float|int)'",
        line=r"logs|^$",
        text="logs.get returned None: the metric has another name, most often 'accuracy' instead of 'acc'.",
        swap=(r"""(["'])(val_)?acc\1""", r"\1\2accuracy\1"),
        old='logs.get("acc")',
        new='logs.get("accuracy")',
    ),
    Rule(
        id="labels-column",
        message=r"must have the same (?:rank|shape).*target\.shape=\(\w+,\), output\.shape=\(\w+, 1\)",
        text="The model answers with a column, one value in each row, and the labels are a plain list of values. "
        "Make them a "
        "column too.",
        old="model.fit(x, y)",
        new="model.fit(x, np.reshape(y, (-1, 1)))",
    ),
    Rule(
        id="labels-rank",
        message=r"`?target`? and `?output`? must have the same (?:rank|shape)",
        text="The labels and the model's output have different shapes. Labels that are class numbers need "
        "sparse_categorical_crossentropy; one-hot rows need categorical_crossentropy; one sigmoid needs "
        "binary_crossentropy.",
        swap=(r"(?<!sparse_)\bcategorical_crossentropy", "sparse_categorical_crossentropy"),
        old='loss="categorical_crossentropy"',
        new='loss="sparse_categorical_crossentropy"',
    ),
    Rule(
        id="labels-sparse",
        message=r"logits and labels must have the same first dimension|labels.{0,40}must be .{0,20}less "
        r"than.{0,20}rank|"
        r"Received: target\.shape",
        text="One-hot labels met a loss for class numbers (or the reverse). Keep the labels as class numbers with "
        "sparse_categorical_crossentropy, or one-hot with categorical_crossentropy.",
        old='loss="sparse_categorical_crossentropy"',
        new='loss="categorical_crossentropy"',
    ),
    Rule(
        id="labels-range",
        message=r"label value of (?P<label>-?\d+) which is outside the valid range of \[0, (?P<size>\d+)\)",
        text="A label is {label}, but the output layer has {size} units: it needs one for each class, counted from 0.",
        old="Dense({size})",
    ),
    Rule(
        id="rows-differ",
        message=r"Data cardinality is ambiguous|x sizes:.*y sizes:",
        text="Inputs and labels have different numbers of rows: most often training data met test labels.",
    ),
    Rule(
        id="channels",
        message=r"expected min_ndim=4, found ndim=3",
        text="A convolution wants a channel axis: images of shape (28, 28, 1), not (28, 28).",
        old="model.fit(x_train, y_train)",
        new="model.fit(x_train[..., np.newaxis], y_train)",
    ),
    Rule(
        id="input-shape",
        message=r"incompatible with the layer|Invalid input shape for input|incompatible shape|"
        r"expected axis -1 of input shape",
        text="The data do not have the shape the model was built for. Compare x.shape with model.input_shape; a single "
        "example needs a batch axis of its own.",
        old="model.predict(x[0])",
        new="model.predict(x[:1])",
    ),
    Rule(
        id="structure",
        message=r"structure of `?inputs`? doesn't match",
        text="The model was called with another structure (a dictionary or a list) than it was built for. Give it "
        "one array.",
    ),
    Rule(
        id="ragged-lists",
        message=r"Unrecognized data type: [xy]=|Failed to convert a NumPy array to a Tensor|inhomogeneous shape",
        text="fit takes arrays, not lists of different lengths. Pad the sequences to one length, and turn lists into "
        "np.array.",
        old="model.fit(train_data, train_labels)",
        new="model.fit(keras.utils.pad_sequences(train_data, maxlen=256), np.array(train_labels))",
    ),
    Rule(
        id="labels-list",
        kinds=("IndexError",),
        message=r"tuple index out of range",
        line=r"\bfit\(",
        text="fit takes arrays. Turn lists of labels into np.array.",
        swap=(r"\bfit\((\w+),\s*(\w+)", r"fit(np.array(\1), np.array(\2)"),
        old="model.fit(x, [0, 1, 1])",
        new="model.fit(x, np.array([0, 1, 1]))",
    ),
    Rule(
        id="padded-shapes",
        message=r"must provide `padded_shapes`",
        text="Leave the shapes out where they are known, or give one for each part: [None] for a sequence, [] for a "
        "number.",
        old="dataset.padded_batch(32, ([None], []))",
        new="dataset.padded_batch(32)",
    ),
    Rule(
        id="dtype-object",
        message=r"Invalid dtype: object|Unsupported object type|could not convert string to float",
        text="The table holds text or booleans beside numbers (one-hot columns of pandas are booleans). Make it "
        "numbers.",
        old="model.fit(train_data, train_labels)",
        new='model.fit(train_data.astype("float32"), train_labels)',
    ),
)
