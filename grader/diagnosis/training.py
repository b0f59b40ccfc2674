"""Compile, fit and what comes of it; shapes, labels and types."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from grader.diagnosis.code import Code, Edit
from grader.diagnosis.find import (
    KERAS,
    Finder,
    Hit,
    Look,
    all_of,
    attribute,
    keyword,
    list_argument,
    method,
    path,
)
from grader.diagnosis.rule import Rule

OPTIMIZERS = ("Adam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "AdamW")
OPTIMIZER_HOME = KERAS + r"optimizers|tensorflow\.optimizers"
#: What an optimizer is called where nothing else tells that it is one.
OPTIMIZER_NAME = r"(?i)\.optimizer$|^optimi[sz]er$|^opt$"
#: Arguments of fit that went with Keras 2 and TensorFlow 1.
FIT_ARGUMENTS = ("workers", "use_multiprocessing", "max_queue_size", "show_accuracy", "pickle_safe")


def _metric_names(code: Code) -> set[str] | None:
    """The names that the notebook's compile calls give to metrics; None where one of them is no plain text."""
    names: set[str] = set()
    for cell in code.cells:
        for call, argument in cell.keywords.get("metrics", ()):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "compile":
                given = argument.value.elts if isinstance(argument.value, ast.List) else [argument.value]
                texts = [item.value for item in given if isinstance(item, ast.Constant) and isinstance(item.value, str)]
                if len(texts) < len(given):
                    return None
                names.update(texts)
    return names


def _history_key(look: Look) -> Iterator[Hit]:
    """``history.history["acc"]`` where the notebook compiles with "accuracy" only; so with ``logs.get("acc")``."""
    cell = look.cell
    if look.strict:
        names = _metric_names(look.code)
        if not names or "acc" in names or "accuracy" not in names:
            return
    keys = [node.slice for node in cell.subscripts if not look.strict or "history" in cell.text(node.value)]
    keys += [call.args[0] for call in cell.calls.get("get", ()) if call.args and "logs" in cell.text(call.func)]
    for key in keys:
        if isinstance(key, ast.Constant) and key.value in ("acc", "val_acc"):
            start, end = cell.start(key) + 1, cell.end(key) - 1
            yield Hit(cell, start, (Edit(start, end, str(key.value).replace("acc", "accuracy")),))


def _sparse_loss(look: Look) -> Iterator[Hit]:
    """``loss="categorical_crossentropy"``, the loss for one-hot rows."""
    for _, argument in look.cell.keywords.get("loss", ()):
        value = argument.value
        if isinstance(value, ast.Constant) and value.value == "categorical_crossentropy":
            start = look.cell.start(value) + 1
            yield Hit(look.cell, start, (Edit(start, start, "sparse_"),))


def _as_arrays(look: Look) -> Iterator[Hit]:
    """The first two arguments of fit, made arrays."""
    cell = look.cell
    for call in cell.calls.get("fit", ()):
        if len(call.args) > 1:
            edits = [Edit(cell.start(item), cell.end(item), f"np.array({cell.text(item)})") for item in call.args[:2]]
            yield Hit(cell, cell.start(call), tuple(edits))


def _legacy(name: str) -> Finder:
    return all_of(
        path(f"tensorflow.keras.optimizers.legacy.{name}", f"tensorflow.keras.optimizers.{name}"),
        path(f"keras.optimizers.legacy.{name}", f"keras.optimizers.{name}"),
    )


OTHER_SHAPE = (
    r"incompatible with the layer|Invalid input shape for input|incompatible shape|"
    r"expected axis -1 of input shape|Incompatible shapes|Matrix size-incompatible|"
    r"not aligned|could not be broadcast together|Dimensions must be equal"
)

RULES: tuple[Rule, ...] = (
    Rule(
        id="optimizer-lr",
        message=r"not recognized: \{'lr'",
        text="The argument is called learning_rate.",
        zh="这个参数叫做 learning_rate。",
        find=keyword("lr", "learning_rate", calls=OPTIMIZERS, home=OPTIMIZER_HOME),
        before="fails",
        old="Adam(lr=0.001)",
        new="Adam(learning_rate=0.001)",
    ),
    Rule(
        id="optimizer-lr-attribute",
        message=r"object has no attribute 'lr'",
        text="The attribute is called learning_rate.",
        zh="这个属性叫做 learning_rate。",
        find=attribute("lr", "learning_rate", base=OPTIMIZER_NAME),
        before="fails",
        old="model.optimizer.lr",
        new="model.optimizer.learning_rate",
    ),
    Rule(
        id="optimizer-lr-assigned",
        message=r"(?!)",
        text="Keras 3 takes no notice of lr: the rate stays as it was. Assign to learning_rate.",
        zh="Keras 3 不理会 lr：学习率保持不变。请给 learning_rate 赋值。",
        find=attribute("lr", "learning_rate", base=OPTIMIZER_NAME, set_to=True),
        before="idle",
        old="model.optimizer.lr = 0.01",
        new="model.optimizer.learning_rate = 0.01",
    ),
    Rule(
        id="optimizer-decay",
        message=r"not recognized: \{'decay'|Argument `decay` is no longer supported",
        text="decay is ignored by Keras 3. Leave it out, or give learning_rate a schedule.",
        zh="Keras 3 忽略 decay 参数。去掉它，或者给 learning_rate 一个调度（schedule）。",
        find=keyword("decay", None, calls=OPTIMIZERS, home=OPTIMIZER_HOME),
        before="idle",
        old="SGD(learning_rate=0.1, decay=1e-6)",
        new="SGD(learning_rate=0.1)",
    ),
    Rule(
        id="optimizer-argument",
        message=r"Argument\(s\) not recognized: \{'(?P<name>\w+)'",
        text="This optimizer has no argument '{name}' in Keras 3. Leave it out.",
        zh="在 Keras 3 中，这个优化器没有参数 '{name}'。去掉它。",
        old="Adam({name}=…)",
        new="Adam()",
    ),
    Rule(
        id="optimizer-legacy",
        message=r"optimizers\.legacy",
        text="Keras 3 has no legacy optimizers; its own take their place. Do not install tf_keras for this.",
        zh="Keras 3 没有旧版（legacy）优化器；请使用它自己的优化器。不要为此安装 tf_keras。",
        find=all_of(*(_legacy(name) for name in OPTIMIZERS)),
        before="fails",
        old="tf.keras.optimizers.legacy.Adam()",
        new="tf.keras.optimizers.Adam()",
    ),
    Rule(
        id="optimizer-unknown",
        message=r"Could not interpret optimizer identifier",
        text="compile needs one of Keras's optimizers; those of tf.train or tf.compat.v1 do not work with it.",
        zh="compile 需要 Keras 的优化器；tf.train 或 tf.compat.v1 的优化器不能用。",
        find=all_of(
            path("tensorflow.compat.v1.train.AdamOptimizer", "tensorflow.keras.optimizers.Adam"),
            path("tensorflow.compat.v1.train.GradientDescentOptimizer", "tensorflow.keras.optimizers.SGD"),
        ),
        old="model.compile(optimizer=tf.compat.v1.train.AdamOptimizer())",
        new="model.compile(optimizer=tf.keras.optimizers.Adam())",
    ),
    Rule(
        id="optimizer-minimize",
        message=r"object has no attribute 'minimize'",
        text="Optimizers of Keras 3 do not minimise by themselves. Take the gradient with a tape and apply it.",
        zh="Keras 3 的优化器不会自己做最小化。请用 tape 求梯度，再应用它。",
        old="optimizer.minimize(loss, variables)",
        new="optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))",
    ),
    Rule(
        id="nb-epoch",
        message=r"unexpected keyword argument 'nb_epoch'",
        text="The argument is called epochs.",
        zh="这个参数叫做 epochs。",
        find=keyword("nb_epoch", "epochs", calls=("fit", "fit_generator")),
        before="fails",
        old="model.fit(x, y, nb_epoch=10)",
        new="model.fit(x, y, epochs=10)",
    ),
    *(
        Rule(
            id=f"fit-{name.replace('_', '-')}",
            message=rf"fit\(\) got an unexpected keyword argument '{name}'",
            text=f"fit has no argument {name} in Keras 3. Leave it out.",
            zh=f"在 Keras 3 中，fit 没有参数 {name}。去掉它。",
            find=keyword(name, None, calls=("fit", "evaluate", "predict")),
            before="fails",
            old=f"model.fit(data, {name}=…)",
            new="model.fit(data)",
        )
        for name in FIT_ARGUMENTS
    ),
    Rule(
        id="tensorboard-argument",
        message=r"TensorBoard\.__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'",
        text="The TensorBoard callback has no '{name}' in Keras 3. Leave it out.",
        zh="在 Keras 3 中，TensorBoard 回调没有 '{name}'。去掉它。",
        find=all_of(
            *(
                keyword(name, None, calls=("TensorBoard",), home=KERAS + "callbacks")
                for name in ("write_grads", "batch_size", "embeddings_layer_names", "embeddings_data")
            )
        ),
        before="fails",
        old="TensorBoard(log_dir, write_grads=True)",
        new="TensorBoard(log_dir)",
    ),
    Rule(
        id="metrics-list",
        message=r"Expected `?metrics`? argument to be a list",
        text="metrics takes a list, even for one metric.",
        zh="即使只有一个指标，metrics 也需要列表。",
        find=list_argument("metrics", "compile"),
        before="fails",
        old='model.compile(metrics="accuracy")',
        new='model.compile(metrics=["accuracy"])',
    ),
    Rule(
        id="not-compiled",
        message=r"You must call `?compile\(\)`?",
        text="This model was not compiled. Call compile before fit or evaluate; a model that was loaded with "
        "compile=False, or built again, has to be compiled too.",
        zh="这个模型没有编译。在 fit 或 evaluate 之前调用 compile；用 compile=False 载入的、或重新搭建的模型也要编译。",
        new='model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])',
    ),
    Rule(
        id="not-built",
        message=r"has never been called|has not yet been built|isn't built|not built yet",
        text="The model does not know its input yet. Begin it with keras.Input(shape), or call it on data first.",
        zh="模型还不知道输入的形状。请以 keras.Input(shape) 开头，或者先用数据调用一次。",
        old="model = keras.Sequential([keras.layers.Dense(10)])",
        new="model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])",
    ),
    Rule(
        id="no-layers",
        message=r"because it has no layers",
        text="The Sequential model is empty: add its layers before it is used.",
        zh="Sequential 模型是空的：使用之前请先添加层。",
        new="model.add(keras.layers.Dense(10))",
    ),
    *(
        Rule(
            id=f"{name}-generator",
            message=rf"has no attribute '{name}_generator'",
            text=f"{name} takes generators itself.",
            zh=f"{name} 自己就能接收生成器。",
            find=attribute(f"{name}_generator", name, called=True),
            before="fails",
            old=f"model.{name}_generator(data)",
            new=f"model.{name}(data)",
        )
        for name in ("fit", "evaluate", "predict")
    ),
    Rule(
        id="predict-classes",
        message=r"has no attribute 'predict_classes'",
        text="predict_classes is gone: take the most probable class of each prediction (for one sigmoid: > 0.5).",
        zh="predict_classes 已不存在：取每个预测中概率最大的类别（只有一个 sigmoid 输出时：> 0.5）。",
        find=method("predict_classes", "np.argmax({base}.predict({args}), axis=1)"),
        before="fails",
        old="model.predict_classes(x)",
        new="np.argmax(model.predict(x), axis=1)",
    ),
    Rule(
        id="predict-proba",
        message=r"'(?:Sequential|Functional|Model)' object has no attribute 'predict_proba'",
        text="predict returns the probabilities itself.",
        zh="predict 返回的就是概率。",
        find=attribute("predict_proba", "predict", base=r"(?i)^model\d*$|network", called=True),
        old="model.predict_proba(x)",
        new="model.predict(x)",
    ),
    Rule(
        id="history-acc",
        kinds=("KeyError",),
        message=r"^'?(?P<prefix>val_)?acc'?$",
        text="history.history is keyed by the names given to compile: with metrics=['accuracy'] that is "
        "'{prefix}accuracy'.",
        zh="history.history 的键就是交给 compile 的名字：metrics=['accuracy'] 时是 '{prefix}accuracy'。",
        find=_history_key,
        before="fails",
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
        zh="history.history 里没有 '{prefix}{name}'：它的键是交给 compile 的名字，而 val_… 只有提供了验证数据才有。"
        "请打印 history.history.keys()。",
        old="history.history['{prefix}{name}']",
        new="print(history.history.keys())",
    ),
    Rule(
        id="history-val",
        kinds=("KeyError",),
        message=r"^'?val_loss'?$",
        text="There is no val_loss since fit was given no validation data.",
        zh="没有 val_loss，因为没有给 fit 验证数据。",
        old="model.fit(x, y)",
        new="model.fit(x, y, validation_split=0.2)",
    ),
    Rule(
        id="callback-logs",
        message=r"not supported between instances of 'NoneType' and '(?:float|int)'",
        line=r"logs|\bfit\(|^$",
        text="logs.get returned None: the metric has another name, most often 'accuracy' instead of 'acc'.",
        zh="logs.get 返回了 None：指标是另一个名字，通常是 'accuracy' 而不是 'acc'。",
        find=_history_key,
        old='logs.get("acc")',
        new='logs.get("accuracy")',
    ),
    Rule(
        id="labels-column",
        message=r"must have the same (?:rank|shape).*target\.shape=\(\w+,\), output\.shape=\(\w+, 1\)",
        text="The model answers with a column, one value in each row, and the labels are a plain list of values. "
        "Make them a column too.",
        zh="模型的输出是一列，每行一个值，而标签是一维的。请把标签也变成一列。",
        old="model.fit(x, y)",
        new="model.fit(x, np.reshape(y, (-1, 1)))",
    ),
    Rule(
        id="flatten-missing",
        message=r"target\.shape=.{0,40}output\.shape=\((?:None|\d+), \d+, \d+",
        text="The model answers with a table for each example instead of one row: Dense works on the last axis alone. Put "
        "Flatten before the first Dense layer.",
        zh="模型对每个样本给出的是一张表，而不是一行：Dense 只作用于最后一个轴。请在第一个 Dense 层之前加上 Flatten。",
        old="keras.layers.Dense(128, activation='relu'),",
        new="keras.layers.Flatten(), keras.layers.Dense(128, activation='relu'),",
    ),
    Rule(
        id="flatten-input",
        message=r"(?:axis -1 of input shape to have value 784|Expected shape \(None, 784\)).{0,200}\((?:None|\d+), 28, 28",
        text="Images of 28 × 28 pixels met a model that was built for rows of 784 numbers. Make rows of the images, or begin "
        "the model with keras.Input((28, 28)) and Flatten.",
        zh="28×28 像素的图像遇到了为 784 个数的行搭建的模型。请把图像变成行，或让模型以 keras.Input((28, 28)) 和 Flatten 开头。",
        old="model.fit(x_train, y_train)",
        new="model.fit(x_train.reshape(len(x_train), -1), y_train)",
    ),
    Rule(
        id="labels-rank",
        message=r"`?target`? and `?output`? must have the same (?:rank|shape)",
        text="The labels and the model's output have different shapes. Labels that are class numbers need "
        "sparse_categorical_crossentropy; one-hot rows need categorical_crossentropy; one sigmoid needs "
        "binary_crossentropy.",
        zh="标签和模型输出的形状不同。标签是类别编号时用 sparse_categorical_crossentropy；独热（one-hot）行用 "
        "categorical_crossentropy；单个 sigmoid 用 binary_crossentropy。",
        find=_sparse_loss,
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
        zh="独热（one-hot）标签遇到了用于类别编号的损失（或反过来）。标签是类别编号时用 "
        "sparse_categorical_crossentropy，"
        "独热标签用 categorical_crossentropy。",
        old='loss="sparse_categorical_crossentropy"',
        new='loss="categorical_crossentropy"',
    ),
    Rule(
        id="labels-range",
        message=r"label value of (?P<label>-?\d+) which is outside the valid range of \[0, (?P<size>\d+)\)",
        text="A label is {label}, but the output layer has {size} units: it needs one for each class, counted from 0.",
        zh="有一个标签是 {label}，而输出层只有 {size} 个单元：每个类别需要一个单元，从 0 数起。",
        old="Dense({size})",
    ),
    Rule(
        id="rows-differ",
        message=r"Data cardinality is ambiguous|x sizes:.*y sizes:",
        text="Inputs and labels have different numbers of rows: most often training data met test labels.",
        zh="输入和标签的行数不同：多半是训练数据配上了测试标签。",
        old="model.fit(x_train, y_test)",
        new="model.fit(x_train, y_train)",
    ),
    Rule(
        id="channels",
        message=r"expected min_ndim=4, found ndim=3",
        text="A convolution wants a channel axis: images of shape (28, 28, 1), not (28, 28).",
        zh="卷积需要通道轴：图像形状应为 (28, 28, 1)，而不是 (28, 28)。",
        old="model.fit(x_train, y_train)",
        new="model.fit(x_train[..., np.newaxis], y_train)",
    ),
    Rule(
        id="batch-axis",
        message=OTHER_SHAPE,
        line=r"\bpredict\w*\(|\bmodel\(",
        text="The data do not have the shape the model was built for. Compare x.shape with model.input_shape; a single "
        "example needs a batch axis of its own.",
        zh="数据的形状与模型不符。请比较 x.shape 和 model.input_shape；单个样本需要自己的批次轴。",
        old="model.predict(x[0])",
        new="model.predict(x[:1])",
    ),
    Rule(
        id="input-shape",
        message=OTHER_SHAPE,
        text="The data do not have the shape the model was built for. Compare x.shape with model.input_shape: the first "
        "axis counts examples, the others must be the same.",
        zh="数据的形状与模型不符。请比较 x.shape 和 model.input_shape：第一个轴是样本个数，其余各轴必须相同。",
    ),
    Rule(
        id="structure",
        message=r"structure of `?inputs`? doesn't match",
        text="The model was called with another structure (a dictionary or a list) than it was built for. Give it "
        "one array.",
        zh="调用模型时的数据结构（字典或列表）与搭建时不同。请给它一个数组。",
        old='model({"a": x})',
        new="model(x)",
    ),
    Rule(
        id="ragged-lists",
        message=r"Unrecognized data type: [xy]=|Failed to convert a NumPy array to a Tensor|inhomogeneous shape",
        text="fit takes arrays, not lists of different lengths. Pad the sequences to one length, and turn lists into "
        "np.array.",
        zh="fit 需要数组，而不是长短不一的列表。请把序列填充到同一长度，并把列表变成 np.array。",
        old="model.fit(train_data, train_labels)",
        new="model.fit(keras.utils.pad_sequences(train_data, maxlen=256), np.array(train_labels))",
    ),
    Rule(
        id="labels-list",
        kinds=("IndexError",),
        message=r"tuple index out of range",
        line=r"\bfit\(",
        text="fit takes arrays. Turn lists of labels into np.array.",
        zh="fit 需要数组。请把标签列表变成 np.array。",
        find=_as_arrays,
        old="model.fit(x, [0, 1, 1])",
        new="model.fit(x, np.array([0, 1, 1]))",
    ),
    Rule(
        id="padded-shapes",
        message=r"must provide `padded_shapes`",
        text="Leave the shapes out where they are known, or give one for each part: [None] for a sequence, [] for a "
        "number.",
        zh="形状已知时不要写出；否则给每个部分一个形状：序列用 [None]，数字用 []。",
        old="dataset.padded_batch(32, ([None], []))",
        new="dataset.padded_batch(32)",
    ),
    Rule(
        id="dtype-object",
        message=r"Invalid dtype: object|Unsupported object type|could not convert string to float",
        text="The table holds text or booleans beside numbers (one-hot columns of pandas are booleans). Make it "
        "numbers.",
        zh="表格里除了数字还有文本或布尔值（pandas 的独热列是布尔值）。请都转换成数字。",
        old="model.fit(train_data, train_labels)",
        new='model.fit(train_data.astype("float32"), train_labels)',
    ),
    Rule(
        id="call-failed",
        message=r"Exception encountered when calling (?P<name>[\w.]+)\(\)",
        text="The error comes from inside {name}: the lines of the message after the first say what it was given. "
        "Compare the shapes there with those the layer was built for.",
        zh="错误来自 {name} 内部：消息第一行之后写明了它收到了什么。请把那里的形状与层搭建时的形状作比较。",
    ),
)
