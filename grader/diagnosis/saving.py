"""Saving and loading: Keras 3 decides by the ending of the file name."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(
        id="checkpoint-weights-name",
        message=r"save_weights_only=True` in `?ModelCheckpoint|save_weights_only=True in ModelCheckpoint",
        text="Keras 3 writes weights to files that end in .weights.h5 only.",
        swap=(
            r"""((?:ModelCheckpoint\(|filepath\s*=)\s*["'][^"']*?)(?:\.weights)?(?:\.ckpt|\.h5|\.hdf5)?(["'])""",
            r"\1.weights.h5\2",
        ),
        old='ModelCheckpoint("training_1/cp.ckpt", save_weights_only=True)',
        new='ModelCheckpoint("training_1/cp.weights.h5", save_weights_only=True)',
    ),
    Rule(
        id="checkpoint-model-name",
        message=r"filepath provided must end in `?\.keras",
        text="Keras 3 writes whole models to files that end in .keras (or .h5).",
        old='ModelCheckpoint("best_model.hdf5")',
        new='ModelCheckpoint("best_model.keras")',
    ),
    Rule(
        id="save-weights-name",
        message=r"filename must end in `?\.weights\.h5",
        text="Keras 3 writes weights to files that end in .weights.h5 only.",
        swap=(r"""save_weights\((["'])(.*?)(?:\.ckpt|\.h5|\.hdf5)?\1""", r"save_weights(\1\2.weights.h5\1"),
        old='model.save_weights("checkpoints/my_checkpoint")',
        new='model.save_weights("checkpoints/my_checkpoint.weights.h5")',
    ),
    Rule(
        id="export-saved-model",
        message=r"keras' has no attribute 'experimental'",
        text="tf.keras.experimental is gone. Save the whole model with model.save.",
        old='tf.keras.experimental.export_saved_model(model, "folder")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="load-saved-model",
        message=r"File format not supported.*legacy SavedModel format is not supported",
        text="load_model reads .keras and .h5 files only, not SavedModel folders. Save as .keras and load that.",
        old='keras.models.load_model("saved_model/my_model")',
        new='keras.models.load_model("my_model.keras")',
    ),
    Rule(
        id="load-weights-format",
        message=r"File format not supported",
        text="load_weights reads .weights.h5, .keras and .h5 files, not TensorFlow checkpoints. Save as .weights.h5 "
        "first.",
        swap=(r"""load_weights\((["'])(.*?)(?:\.ckpt)?\1""", r"load_weights(\1\2.weights.h5\1"),
        old='model.load_weights("training_1/cp.ckpt")',
        new='model.load_weights("training_1/cp.weights.h5")',
    ),
    Rule(
        id="save-extension",
        message=r"Invalid filepath extension for saving",
        text="A model's file name must end in .keras (or .h5). SavedModel folders are written by model.export.",
        swap=(r"""\.save\((["'])(.*?)/?\1""", r".save(\1\2.keras\1"),
        old='model.save("saved_model/my_model")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="save-format",
        message=r"`?save_format`? argument is deprecated",
        text="Leave save_format out: the ending of the file name decides, .keras or .h5.",
        swap=(r""",\s*save_format\s*=\s*["']\w+["']""", ""),
        old='model.save("my_model", save_format="tf")',
        new='model.save("my_model.keras")',
    ),
    Rule(
        id="load-h5-loss",
        message=r"Could not (?:deserialize|locate function) '(?:keras\.metrics\.)?(?:mse|mae)'",
        text="A model compiled with the short name 'mse' and saved as .h5 cannot be read back compiled. Save it as "
        ".keras, "
        "or load it without compiling.",
        swap=(r"load_model\(([^()]*)\)", r"load_model(\1, compile=False)"),
        old='load_model("my_model.h5")',
        new='load_model("my_model.h5", compile=False)',
    ),
    Rule(
        id="checkpoint-period",
        message=r"unexpected keyword argument 'period'",
        text='ModelCheckpoint has no period any more. save_freq counts batches, or "epoch".',
        swap=(r"period\s*=\s*\w+", 'save_freq="epoch"'),
        old="ModelCheckpoint(path, period=5)",
        new='ModelCheckpoint(path, save_freq="epoch")',
    ),
)
