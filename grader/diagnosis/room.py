"""Modules, files, network: what the room a notebook runs in does not offer, and the machine's limits."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(
        id="colab",
        message=r"No module named 'google(?:\.colab)?'|/content/",
        text="This works on Google Colab only: there is no Colab and no Drive here. Delete the cell and load the "
        "data as "
        "the handout says.",
        old="from google.colab import drive",
    ),
    Rule(
        id="np-utils",
        message=r"'np_utils'|No module named '[\w.]*np_utils'",
        text="np_utils is gone; to_categorical is in keras.utils itself.",
        swap=(r"from (?:tensorflow\.)?keras\.utils import np_utils", "from keras.utils import to_categorical"),
        old="from keras.utils import np_utils",
        new="from keras.utils import to_categorical",
    ),
    Rule(
        id="keras-preprocessing-text",
        message=r"No module named 'keras\.preprocessing\.text'",
        text="Text preprocessing left Keras 3. tf.keras still has it; TextVectorization replaces it.",
        swap=(r"from keras\.preprocessing\.text", "from tensorflow.keras.preprocessing.text"),
        old="from keras.preprocessing.text import Tokenizer",
        new="from tensorflow.keras.preprocessing.text import Tokenizer",
    ),
    Rule(
        id="keras-image-generator",
        message=r"'ImageDataGenerator'",
        text="ImageDataGenerator left Keras 3. tf.keras still has it; preprocessing layers replace it.",
        swap=(r"from keras\.preprocessing\.image", "from tensorflow.keras.preprocessing.image"),
        old="from keras.preprocessing.image import ImageDataGenerator",
        new="from tensorflow.keras.preprocessing.image import ImageDataGenerator",
    ),
    Rule(
        id="keras-experimental",
        message=r"keras\.layers\.experimental|layers' has no attribute 'experimental'",
        text="The experimental preprocessing layers are ordinary layers now.",
        swap=(r"(layers)\.experimental\.preprocessing(\.\w)?", r"\1\2"),
        old="layers.experimental.preprocessing.Normalization()",
        new="layers.Normalization()",
    ),
    Rule(
        id="keras-old-module",
        message=r"No module named "
        r"'(?:tensorflow\.)?keras\.(?P<name>layers\.\w+|engine[\w.]*|utils\.\w+|wrappers[\w.]*)'",
        text="keras.{name} does not exist any more. Layers are imported from keras.layers, models from keras.models, "
        "helpers from keras.utils.",
        swap=(r"(keras\.(?:layers|utils))\.\w+ import", r"\1 import"),
        old="from keras.layers.core import Dense",
        new="from keras.layers import Dense",
    ),
    Rule(
        id="keras-optimizer-case",
        message=r"'(?P<name>adam|sgd|rmsprop|adagrad|adadelta)'.*keras\.optimizers|"
        r"keras\.optimizers' has no attribute '(?P<other>\w+)'",
        text="Optimizer classes begin with a capital letter: Adam, SGD, RMSprop.",
        old="from keras.optimizers import adam",
        new="from keras.optimizers import Adam",
    ),
    Rule(
        id="keras-backend",
        message=r"module '[\w.]*keras\.backend' has no attribute '(?P<name>\w+)'",
        text="keras.backend.{name} left Keras 3. Use the function of keras.ops or of tf.",
        old="K.{name}(x)",
        new="keras.ops.{name}(x)",
    ),
    Rule(
        id="removed-name",
        message=r"(?:import name|has no attribute) "
        r"'(?P<name>merge|Merge|model_from_yaml|multi_gpu_model|scikit_learn)'",
        text="{name} was removed from Keras. Rewrite this step with what Keras 3 offers (keras.layers.concatenate, "
        "model.to_json, one model per program).",
    ),
    Rule(
        id="plot-model",
        message=r"install pydot|install graphviz|Failed to import pydot",
        text="Drawing a model needs pydot and Graphviz, which are not here. Print the layers instead.",
        swap=(r"[\w.]*plot_model\(\s*(\w+).*\)", r"\1.summary()"),
        old="keras.utils.plot_model(model)",
        new="model.summary()",
    ),
    Rule(
        id="package-not-offered",
        kinds=("ModuleNotFoundError",),
        message=r"No module named "
        r"'(?P<name>tensorflow_(?:hub|docs|datasets|addons)|tensorboard|seaborn|pydot|cv2|torch|"
        r"xgboost|plotly|keras_tuner|tqdm)",
        text="The package {name} is not part of this lab's environment and cannot be installed while grading. The "
        "lab can "
        "be done without it.",
    ),
    Rule(
        id="sklearn-moved",
        message=r"No module named 'sklearn\.cross_validation'",
        text="The function moved to sklearn.model_selection.",
        swap=(r"sklearn\.cross_validation", "sklearn.model_selection"),
        old="from sklearn.cross_validation import train_test_split",
        new="from sklearn.model_selection import train_test_split",
    ),
    Rule(
        id="sklearn-boston",
        message=r"load_boston",
        text="load_boston was removed from scikit-learn. Use the data the handout names.",
    ),
    Rule(
        id="module-unknown",
        kinds=("ModuleNotFoundError",),
        message=r"No module named '(?P<name>[\w.]+)'",
        text="The module {name} is not here: misspelt, a file of your own that was not handed in, or a package that "
        "the "
        "lab does not use. Nothing can be installed while grading.",
    ),
    Rule(
        id="network",
        message=r"URL fetch failure|urlopen error|Name or service not known|name resolution|Max retries exceeded|"
        r"Network is unreachable|getaddrinfo failed|Connection refused",
        text="There is no network while grading. Load the data with the function the handout names: those files are "
        "here.",
        new="(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()",
    ),
    Rule(
        id="magic",
        message=r"(?:Line|Cell) magic (?:function )?`?(?P<name>%%?\w+)",
        text="The magic {name} exists on Colab or with an extension only. Delete the line.",
        old="{name}",
    ),
    Rule(
        id="input",
        message=r"raw_input was called|does not support input requests",
        text="Nobody answers input() while grading. Assign the value instead.",
        swap=(r"input\([^()]*\)", '"…"'),
        old='epochs = int(input("epochs? "))',
        new="epochs = 5",
    ),
    Rule(
        id="own-path",
        kinds=("FileNotFoundError", "OSError", "PermissionError", "NotADirectoryError", "NotFoundError"),
        message=r"'(?P<path>(?:[A-Za-z]:[\\/]|/(?:home|Users|mnt|media|root)/|~)[^']*)'",
        text="{path} is a place on one computer only. Use a path relative to the notebook.",
        old='open("C:/Users/me/Desktop/data.csv")',
        new='open("data.csv")',
    ),
    Rule(
        id="read-only",
        message=r"Read-only file system|Permission denied",
        text="This place cannot be written to. Write into the notebook's own folder, with a relative path.",
        old='model.save("/model.keras")',
        new='model.save("model.keras")',
    ),
    Rule(
        id="weights-none",
        message=r"stat: path should be string.*NoneType|filepath=None",
        text="There is no checkpoint to load: tf.train.latest_checkpoint finds TensorFlow's own format only and gave "
        "None. "
        "Name the .weights.h5 file you saved.",
        old="model.load_weights(tf.train.latest_checkpoint(folder))",
        new='model.load_weights("training_1/cp.weights.h5")',
    ),
    Rule(
        id="data-path",
        message=r"Paths are no longer accepted as the `?fname",
        text="load_data takes a file name, not a path, and needs neither here.",
        swap=(r"load_data\(path=[^,()]*,?\s*", "load_data("),
        old='imdb.load_data(path="/home/me/imdb.npz")',
        new="imdb.load_data()",
    ),
    Rule(
        id="file-missing",
        kinds=("FileNotFoundError", "NotFoundError"),
        message=r"No such file or directory: '(?P<path>[^']*)'",
        text="The file {path} does not exist when this line runs. It was not handed in, or the cell that should "
        "write it "
        "did not, or wrote it elsewhere.",
    ),
    Rule(
        id="no-gpu",
        message=r"GPU:\d+ unknown device|Could not satisfy.*device.*GPU|No GPU",
        text="This machine offers no GPU. Ask tf.config.list_physical_devices('GPU') first and use the CPU when it "
        "is empty.",
        new='device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"',
    ),
    Rule(
        id="gpu-list-empty",
        kinds=("IndexError",),
        message=r"list index out of range",
        line=r"(?i)gpu|physical_devices",
        text="The list of GPUs is empty here. Test that before taking its first entry.",
        old="tf.config.experimental.set_memory_growth(gpus[0], True)",
        new="if gpus: tf.config.experimental.set_memory_growth(gpus[0], True)",
    ),
    Rule(
        id="memory",
        kinds=("MemoryError", "ResourceExhaustedError"),
        message=r"",
        text="The lab's memory limit was reached. Use smaller batches or float32 instead of float64, and do not keep "
        "copies of "
        "the whole data set.",
        old="x = x / 255.0",
        new='x = x.astype("float32") / 255.0',
    ),
)
