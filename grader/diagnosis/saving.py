"""Saving and loading: Keras 3 decides by the ending of the file name."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from grader.diagnosis.code import Cell, Edit
from grader.diagnosis.find import KERAS, Hit, Look, file_name, keyword, keyword_value
from grader.diagnosis.rule import Rule


def _weights_only(_: Cell, call: ast.Call) -> bool:
    return any(
        item.arg == "save_weights_only" and isinstance(item.value, ast.Constant) and item.value.value is True
        for item in call.keywords
    )


def _whole_model(_: Cell, call: ast.Call) -> bool:
    return not any(item.arg == "save_weights_only" for item in call.keywords)


def _a_model(cell: Cell, call: ast.Call) -> bool:
    """``model.save("…")``, not ``np.save`` or a picture's: a method of something with a model's name, one argument."""
    base = call.func.value if isinstance(call.func, ast.Attribute) else None
    if base is None or cell.resolve(base)[1] or "model" not in cell.text(base).lower().rpartition(".")[2]:
        return False
    return not any(item.arg in ("save_format", "format") for item in call.keywords)


def _uncompiled(look: Look) -> Iterator[Hit]:
    """Loads of a model that could leave the compilation out."""
    cell = look.cell
    for call in cell.calls.get("load_model", ()):
        if call.args:
            end = max(map(cell.end, [*call.args, *call.keywords]))
            yield Hit(cell, cell.start(call), (Edit(end, end, ", compile=False"),))


RULES: tuple[Rule, ...] = (
    Rule(
        id="checkpoint-weights-name",
        message=r"save_weights_only=True` in `?ModelCheckpoint|save_weights_only=True in ModelCheckpoint",
        text="Keras 3 writes weights to files that end in .weights.h5 only.",
        zh="Keras 3 只把权重写入以 .weights.h5 结尾的文件。",
        find=file_name(
            ("ModelCheckpoint",),
            lambda name: not name.endswith(".weights.h5"),
            ".weights.h5",
            home=KERAS + "callbacks",
            only=_weights_only,
        ),
        before="fails",
        old='ModelCheckpoint("training_1/cp.ckpt", save_weights_only=True)',
        new='ModelCheckpoint("training_1/cp.weights.h5", save_weights_only=True)',
    ),
    Rule(
        id="checkpoint-model-name",
        message=r"filepath provided must end in `?\.keras",
        text="Keras 3 writes whole models to files that end in .keras (or .h5).",
        zh="Keras 3 把整个模型写入以 .keras（或 .h5）结尾的文件。",
        find=file_name(
            ("ModelCheckpoint",),
            lambda name: not name.endswith((".keras", ".h5")),
            ".keras",
            home=KERAS + "callbacks",
            only=_whole_model,
        ),
        before="fails",
        old='ModelCheckpoint("best_model.hdf5")',
        new='ModelCheckpoint("best_model.keras")',
    ),
    Rule(
        id="save-weights-name",
        message=r"filename must end in `?\.weights\.h5",
        text="Keras 3 writes weights to files that end in .weights.h5 only.",
        zh="Keras 3 只把权重写入以 .weights.h5 结尾的文件。",
        find=file_name(("save_weights",), lambda name: not name.endswith(".weights.h5"), ".weights.h5"),
        before="fails",
        old='model.save_weights("checkpoints/my_checkpoint")',
        new='model.save_weights("checkpoints/my_checkpoint.weights.h5")',
    ),
    Rule(
        id="export-saved-model",
        message=r"keras' has no attribute 'experimental'",
        text="tf.keras.experimental is gone. Save the whole model with model.save.",
        zh="tf.keras.experimental 已不存在。请用 model.save 保存整个模型。",
        old='tf.keras.experimental.export_saved_model(model, "folder")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="load-saved-model",
        message=r"File format not supported.*legacy SavedModel format is not supported",
        text="load_model reads .keras and .h5 files only, not SavedModel folders. Save as .keras and load that.",
        zh="load_model 只能读取 .keras 和 .h5 文件，不能读取 SavedModel 文件夹。请保存为 .keras 再载入。",
        find=file_name(
            ("load_model",),
            lambda name: not name.endswith((".keras", ".h5", ".hdf5")),
            ".keras",
            home=KERAS + "(?:models|saving)",
        ),
        before="fails",
        old='keras.models.load_model("saved_model/my_model")',
        new='keras.models.load_model("my_model.keras")',
    ),
    Rule(
        id="load-weights-format",
        message=r"File format not supported",
        text="load_weights reads .weights.h5, .keras and .h5 files, not TensorFlow checkpoints. Save as "
        ".weights.h5 first.",
        zh="load_weights 读取 .weights.h5、.keras 和 .h5 文件，不读取 TensorFlow 检查点。请先保存为 .weights.h5。",
        find=file_name(
            ("load_weights",), lambda name: not name.endswith((".h5", ".keras", ".hdf5", "orbax")), ".weights.h5"
        ),
        before="fails",
        old='model.load_weights("training_1/cp.ckpt")',
        new='model.load_weights("training_1/cp.weights.h5")',
    ),
    Rule(
        id="save-extension",
        message=r"Invalid filepath extension for saving",
        text="A model's file name must end in .keras (or .h5). SavedModel folders are written by model.export.",
        zh="模型的文件名必须以 .keras（或 .h5）结尾。SavedModel 文件夹用 model.export 写出。",
        find=file_name(("save",), lambda name: not name.endswith((".keras", ".h5", ".hdf5")), ".keras", only=_a_model),
        before="fails",
        old='model.save("saved_model/my_model")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="save-format",
        message=r"`?save_format`? argument is deprecated|save_weights\(\) got an unexpected keyword argument "
        r"'save_format'",
        text="Leave save_format out: the ending of the file name decides, .keras or .h5.",
        zh="去掉 save_format：由文件名的结尾决定，.keras 或 .h5。",
        find=keyword("save_format", None, calls=("save", "save_weights", "save_model")),
        old='model.save("my_model", save_format="tf")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="load-h5-loss",
        message=r"Could not (?:deserialize|locate function) '(?:keras\.metrics\.)?(?:mse|mae)'",
        text="A model compiled with the short name 'mse' and saved as .h5 cannot be read back compiled. Save it as "
        ".keras, or load it without compiling.",
        zh="用简称 'mse' 编译并保存为 .h5 的模型，不能连同编译信息一起读回。请保存为 .keras，或载入时不编译。",
        find=_uncompiled,
        old='load_model("my_model.h5")',
        new='load_model("my_model.h5", compile=False)',
    ),
    Rule(
        id="checkpoint-period",
        message=r"unexpected keyword argument 'period'",
        text='ModelCheckpoint has no period any more. save_freq counts batches, or "epoch".',
        zh='ModelCheckpoint 不再有 period 参数。save_freq 按批次计数，或者写 "epoch"。',
        find=keyword_value("period", 'save_freq="epoch"', calls=("ModelCheckpoint",), home=KERAS + "callbacks"),
        before="fails",
        old="ModelCheckpoint(path, period=5)",
        new='ModelCheckpoint(path, save_freq="epoch")',
    ),
    Rule(
        id="checkpoint-layers",
        message=r"expected (?P<want>\d+) (?:layers|variables).{0,80}(?:received|found|but)|"
        r"Layer count mismatch|A total of \d+ objects could not be loaded",
        text="These weights belong to another model. Build the same layers in the same order before load_weights.",
        zh="这些权重属于另一个模型。在 load_weights 之前，请按同样的顺序搭建同样的层。",
    ),
)
