"""Modules, files, network: what the room a notebook runs in does not offer, and the machine's limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from grader.diagnosis.code import Edit
from grader.diagnosis.find import KERAS, Hit, Look, all_of, attribute, below, keyword, magic, modules, os_name, text_in
from grader.diagnosis.rule import Rule

#: Packages of tutorials and courses that do not come with TensorFlow, and that no lab needs.
NOT_OFFERED = (
    *("tensorflow_hub", "tensorflow_docs", "tensorflow_datasets", "tensorflow_addons", "tensorboard", "seaborn"),
    *(
        "pydot",
        "cv2",
        "torch",
        "xgboost",
        "plotly",
        "keras_tuner",
        "kerastuner",
        "tqdm",
        "tf_keras",
        "keras_preprocessing",
    ),
    *("tensorflow_text", "imageio", "skimage", "wandb", "transformers", "nltk", "gensim"),
)
URL = re.compile(r"^(?:https?|ftp)://")
OWN_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|/(?:home|Users|mnt|media|kaggle)/|~)")
READERS = (
    "read_csv",
    "read_excel",
    "read_table",
    "open",
    "load",
    "loadtxt",
    "genfromtxt",
    "load_model",
    "load_weights",
)
#: Loaders of Keras, by the data set that a lab of ours has.
LOADERS = ("mnist", "fashion_mnist", "imdb", "cifar10", "cifar100", "reuters", "boston_housing", "california_housing")


def _is_url(look: Look, text: str) -> bool:
    return bool(URL.match(text)) and os_name(text) not in look.files


def _is_own_path(look: Look, text: str) -> bool:
    return bool(OWN_PATH.match(text)) and os_name(text) not in look.files


def _other_data(look: Look) -> Iterator[Hit]:
    """Calls of a loader whose data set is not this lab's: there is nothing to download it from."""
    cell = look.cell
    for call in cell.calls.get("load_data", ()):
        found = re.match(KERAS + r"datasets\.(\w+)\.load_data$", cell.dotted(call.func))
        if found and look.data and found[1] in LOADERS and found[1] != look.data:
            yield Hit(cell, cell.start(call), (), {"path": f"keras.datasets.{found[1]}"})


def _plot_model(look: Look) -> Iterator[Hit]:
    """Drawings of a model: printing its layers is what can be had here."""
    cell = look.cell
    for call in cell.calls.get("plot_model", ()):
        if call.args:
            yield Hit(
                cell,
                cell.start(call),
                (Edit(cell.start(call), cell.end(call), f"{cell.text(call.args[0])}.summary()"),),
            )


def _input(look: Look) -> Iterator[Hit]:
    """Questions to somebody who is not there."""
    cell = look.cell
    for call in cell.calls.get("input", ()):
        if isinstance(call.func, ast.Name) and not look.defines("input"):
            yield Hit(cell, cell.start(call), (Edit(cell.start(call), cell.end(call), '"…"'),))


def _guard_gpus(look: Look) -> Iterator[Hit]:
    """Statements that take an entry of a list of GPUs."""
    cell = look.cell
    for node in cell.subscripts:
        if re.search(r"(?i)gpu|physical_devices", cell.text(node.value)):
            line = cell.lines[node.lineno - 1]
            start = cell.offset(node.lineno, len(line) - len(line.lstrip()))
            name = cell.text(node.value) if isinstance(node.value, ast.Name) else "gpus"
            yield Hit(cell, start, (Edit(start, start, f"if {name}: "),) if not line.lstrip().startswith("if ") else ())


RULES: tuple[Rule, ...] = (
    Rule(
        id="colab",
        message=r"No module named 'google(?:\.colab)?'|/content/",
        text="This works on Google Colab only: there is no Colab and no Drive here. Delete the cell and load the "
        "data as "
        "the handout says.",
        zh="这只能在 Google Colab 上运行：这里没有 Colab，也没有云端硬盘（Drive）。删除这个单元格，"
        "并按实验说明载入数据。",
        find=below("google.colab"),
        before="fails",
        old="from google.colab import drive",
    ),
    Rule(
        id="plot-model",
        message=r"install pydot|install graphviz|Failed to import pydot",
        text="Drawing a model needs pydot and Graphviz, which are not here. Print the layers instead.",
        zh="画出模型需要 pydot 和 Graphviz，这里没有。请改为打印各层。",
        find=_plot_model,
        old="keras.utils.plot_model(model)",
        new="model.summary()",
    ),
    Rule(
        id="package-not-offered",
        kinds=("ModuleNotFoundError",),
        message=rf"No module named '(?P<name>{'|'.join(NOT_OFFERED)})\b",
        text="The package {name} is not part of this lab's environment and cannot be installed while grading. The "
        "lab can "
        "be done without it.",
        zh="软件包 {name} 不在本实验的环境中，评分时也无法安装。不用它也能完成实验。",
        old="import {name}",
    ),
    Rule(
        id="sklearn-moved",
        message=r"No module named 'sklearn\.(?P<name>cross_validation|grid_search)'",
        text="The function moved to sklearn.model_selection.",
        zh="这个函数已移到 sklearn.model_selection。",
        find=modules(r"sklearn\.(?:cross_validation|grid_search)", lambda found: "sklearn.model_selection"),
        before="fails",
        old="from sklearn.cross_validation import train_test_split",
        new="from sklearn.model_selection import train_test_split",
    ),
    Rule(
        id="sklearn-joblib",
        message=r"No module named 'sklearn\.externals\.joblib'|import name 'joblib' from 'sklearn\.externals'",
        text="joblib is a package of its own now.",
        zh="joblib 现在是独立的软件包。",
        find=modules(r"sklearn\.externals\.joblib"),
        before="fails",
        old="from sklearn.externals import joblib",
        new="import joblib",
    ),
    Rule(
        id="sklearn-boston",
        message=r"load_boston",
        text="load_boston was removed from scikit-learn. Use the data the handout names.",
        zh="scikit-learn 已移除 load_boston。请使用实验说明中指定的数据。",
        old="from sklearn.datasets import load_boston",
    ),
    Rule(
        id="module-unknown",
        kinds=("ModuleNotFoundError",),
        message=r"No module named '(?P<name>[\w.]+)'",
        text="The module {name} is not here: misspelt, a file of your own that was not handed in, or a package "
        "that the "
        "lab does not use. Nothing can be installed while grading.",
        zh="这里没有模块 {name}：可能拼写有误，可能是你自己的、没有一起提交的文件，也可能是实验用不到的软件包。"
        "评分时无法安装任何东西。",
    ),
    Rule(
        id="network",
        message=r"URL fetch failure|urlopen error|Name or service not known|name resolution|Max retries exceeded|"
        r"Network is unreachable|getaddrinfo failed|Connection refused",
        text="There is no network while grading. Load the data with the function the handout names: those files "
        "are here.",
        zh="评分时没有网络。请用实验说明中指定的函数载入数据：那些文件就在这里。",
        find=all_of(
            text_in(("get_file",), _is_url, home=KERAS + r"utils", every=True),
            text_in(("read_csv", "read_table", "read_excel"), _is_url, home=r"pandas\."),
            text_in(("urlretrieve", "urlopen"), _is_url, home=r"urllib"),
            text_in(("get",), _is_url, home=r"requests\."),
            _other_data,
        ),
        before="fails",
        new="(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()",
    ),
    Rule(
        id="shell-download",
        message=r"(?!)",
        text="There is no network while grading: this line downloads nothing, and a cell that reads what it should "
        "have "
        "brought fails. Load the data as the handout says.",
        zh="评分时没有网络：这一行什么也下载不到，之后读取这些文件的单元格会出错。请按实验说明载入数据。",
        find=magic(r"^[!%]\s*(?:wget|curl|git\s+clone|kaggle|gdown)\b"),
        before="idle",
        old="!wget https://example.org/data.csv",
    ),
    Rule(
        id="shell-install",
        message=r"(?!)",
        text="Nothing can be installed while grading, so this line has no effect. Delete it: what the lab needs is "
        "here.",
        zh="评分时无法安装任何东西，所以这一行不起作用。删除它：实验需要的都已经在这里。",
        find=magic(r"^[!%]\s*(?:(?:python3?|\{sys\.executable\})\s+-m\s+)?(?:pip3?|conda|mamba|apt|apt-get)\b"),
        before="idle",
        old="!pip install seaborn",
    ),
    Rule(
        id="tensorboard-magic",
        message=r"No module named 'tensorboard|'tensorboard\.notebook'|magic (?:function )?`?%tensorboard",
        text="TensorBoard is not here. Delete the line; plot history.history to see the training.",
        zh="这里没有 TensorBoard。删除这一行；画出 history.history 就能看到训练过程。",
        find=magic(r"^%(?:load_ext\s+tensorboard|tensorboard)\b"),
        before="fails",
        old="%load_ext tensorboard",
    ),
    Rule(
        id="magic",
        message=r"(?:Line|Cell) magic (?:function )?`?(?P<name>%%?\w+)",
        text="The magic {name} exists on Colab or with an extension only. Delete the line.",
        zh="魔法命令 {name} 只在 Colab 上或装有扩展时才有。删除这一行。",
        old="{name}",
    ),
    Rule(
        id="input",
        message=r"raw_input was called|does not support input requests",
        text="Nobody answers input() while grading. Assign the value instead.",
        zh="评分时没有人回答 input()。请直接赋值。",
        find=_input,
        before="fails",
        old='epochs = int(input("epochs? "))',
        new="epochs = 5",
    ),
    Rule(
        id="own-path",
        kinds=("FileNotFoundError", "OSError", "PermissionError", "NotADirectoryError", "NotFoundError"),
        message=r"'(?P<path>(?:[A-Za-z]:[\\/]|/(?:home|Users|mnt|media|root)/|~)[^']*)'",
        text="{path} is a place on one computer only. Use a path relative to the notebook.",
        zh="{path} 只存在于某一台电脑上。请使用相对于笔记本的路径。",
        find=text_in(READERS, _is_own_path, mend=os_name),
        before="fails",
        old='open("C:/Users/me/Desktop/data.csv")',
        new='open("data.csv")',
    ),
    Rule(
        id="read-only",
        message=r"Read-only file system|Permission denied",
        text="This place cannot be written to. Write into the notebook's own folder, with a relative path.",
        zh="这个位置不能写入。请用相对路径写到笔记本自己的文件夹里。",
        old='model.save("/model.keras")',
        new='model.save("model.keras")',
    ),
    Rule(
        id="weights-none",
        message=r"stat: path should be string.*NoneType|filepath=None",
        text="There is no checkpoint to load: tf.train.latest_checkpoint finds TensorFlow's own format only and "
        "gave None. "
        "Name the .weights.h5 file you saved.",
        zh="没有可载入的检查点：tf.train.latest_checkpoint 只能找到 TensorFlow 自己的格式，这里返回了 None。"
        "请写出你保存的 .weights.h5 文件的名字。",
        old="model.load_weights(tf.train.latest_checkpoint(folder))",
        new='model.load_weights("training_1/cp.weights.h5")',
    ),
    Rule(
        id="data-path",
        message=r"Paths are no longer accepted as the `?fname",
        text="load_data takes a file name, not a path, and needs neither here.",
        zh="load_data 接收文件名而不是路径，而且这里两者都不需要。",
        find=keyword("path", None, calls=("load_data",)),
        old='imdb.load_data(path="/home/me/imdb.npz")',
        new="imdb.load_data()",
    ),
    Rule(
        id="file-missing",
        kinds=("FileNotFoundError", "NotFoundError", "OSError"),
        message=r"(?:No such file or directory: |[Uu]nable to (?:synchronously )?open file.*name = |"
        r"File not found: filepath=|No file or directory found at )'?(?P<path>[^',]+)",
        text="The file {path} does not exist when this line runs. It was not handed in, or the cell that should "
        "write it "
        "did not, or wrote it elsewhere.",
        zh="运行到这一行时，文件 {path} 不存在。它没有一起提交，或者本应写出它的单元格没有写，或写到了别处。",
    ),
    Rule(
        id="no-gpu",
        message=r"GPU:\d+ unknown device|Could not satisfy.*device.*GPU|No GPU",
        text="This machine offers no GPU. Ask tf.config.list_physical_devices('GPU') first and use the CPU when it "
        "is empty.",
        zh="这台机器没有 GPU。请先查询 tf.config.list_physical_devices('GPU')，结果为空时使用 CPU。",
        find=attribute("gpu", "cpu", called=True),
        new='device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"',
    ),
    Rule(
        id="gpu-list-empty",
        kinds=("IndexError",),
        message=r"list index out of range",
        line=r"(?i)gpu|physical_devices",
        text="The list of GPUs is empty here. Test that before taking its first entry.",
        zh="这里的 GPU 列表是空的。取第一个元素之前请先判断。",
        find=_guard_gpus,
        old="tf.config.experimental.set_memory_growth(gpus[0], True)",
        new="if gpus: tf.config.experimental.set_memory_growth(gpus[0], True)",
    ),
    Rule(
        id="memory",
        kinds=("MemoryError", "ResourceExhaustedError"),
        message=r"",
        text="The lab's memory limit was reached. Use smaller batches or float32 instead of float64, and do not keep "
        "copies of the whole data set.",
        zh="达到了本实验的内存上限。请减小批量，用 float32 代替 float64，不要保留整个数据集的副本。",
        old="x = x / 255.0",
        new='x = x.astype("float32") / 255.0',
    ),
)
