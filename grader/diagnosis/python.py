"""Python itself and the libraries beside; last, what is true of many libraries."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from grader.diagnosis.code import Edit
from grader.diagnosis.find import Hit, Look, all_of, imported, keyword, path, regex
from grader.diagnosis.rule import Rule

# Aliases of Python's types that NumPy removed.
ALIASES = ("int", "float", "object", "str", "complex", "bool")
# Names that NumPy 2 removed: (old, new).
NUMPY_1 = (
    ("float_", "float64"),
    ("complex_", "complex128"),
    ("Inf", "inf"),
    ("infty", "inf"),
    ("NaN", "nan"),
    ("product", "prod"),
    ("cumproduct", "cumprod"),
    ("in1d", "isin"),
    ("trapz", "trapezoid"),
    ("row_stack", "vstack"),
    ("alltrue", "all"),
    ("sometrue", "any"),
    ("unicode_", "str_"),
    ("string_", "bytes_"),
)


def _seaborn_style(look: Look) -> Iterator[Hit]:
    """``plt.style.use("seaborn-whitegrid")``."""
    cell = look.cell
    for call in cell.calls.get("use", ()):
        for item in call.args:
            if isinstance(item, ast.Constant) and str(item.value) == item.value and item.value.startswith("seaborn"):
                start = cell.start(item) + 1 + len("seaborn")
                if not item.value.startswith("seaborn-v0_8"):
                    yield Hit(cell, cell.start(item), (Edit(start, start, "-v0_8"),))


RULES: tuple[Rule, ...] = (
    Rule(
        id="numpy-alias",
        message=r"module 'numpy' has no attribute '(?P<name>int|float|bool|object|str|complex)'",
        text="np.{name} was an alias of Python's own {name}; NumPy removed it.",
        zh="np.{name} 曾是 Python 自带 {name} 的别名；NumPy 已移除它。",
        find=all_of(*(path(f"numpy.{name}", name) for name in ALIASES if name != "bool")),
        before="fails",
        old="np.{name}",
        new="{name}",
    ),
    *(
        Rule(
            id=f"numpy-{old.replace('_', '-').lower().strip('-')}",
            message=rf"`np\.{old}` was removed|module 'numpy' has no attribute '{old}'",
            text=f"NumPy 2 has no np.{old} any more; it is np.{new}.",
            zh=f"NumPy 2 不再有 np.{old}；请写 np.{new}。",
            find=path(f"numpy.{old}", f"numpy.{new}"),
            before="fails",
            old=f"np.{old}",
            new=f"np.{new}",
        )
        for old, new in NUMPY_1
    ),
    Rule(
        id="pandas-append",
        message=r"'(?:DataFrame|Series)' object has no attribute 'append'",
        text="pandas removed append; use concat.",
        zh="pandas 已移除 append；请用 concat。",
        old="df = df.append(row)",
        new="df = pd.concat([df, row])",
    ),
    Rule(
        id="pandas-ix",
        message=r"'(?:DataFrame|Series)' object has no attribute 'ix'",
        text="pandas removed ix: use loc for labels, iloc for positions.",
        zh="pandas 已移除 ix：按标签用 loc，按位置用 iloc。",
        old="df.ix[0]",
        new="df.iloc[0]",
    ),
    Rule(
        id="pandas-numpy",
        message=r"module 'pandas' has no attribute 'np'",
        text="pandas has no np: import NumPy itself.",
        zh="pandas 里没有 np：请直接导入 NumPy。",
        find=path("pandas.np", "np"),
        before="fails",
        old="pd.np.nan",
        new="np.nan",
    ),
    Rule(
        id="encoder-sparse",
        message=r"OneHotEncoder\.__init__\(\) got an unexpected keyword argument 'sparse'",
        text="The argument is called sparse_output.",
        zh="这个参数叫做 sparse_output。",
        find=keyword("sparse", "sparse_output", calls=("OneHotEncoder",), home=r"sklearn\."),
        before="fails",
        old="OneHotEncoder(sparse=False)",
        new="OneHotEncoder(sparse_output=False)",
    ),
    Rule(
        id="encoder-feature-names",
        message=r"has no attribute 'get_feature_names'",
        text="The method is called get_feature_names_out.",
        zh="这个方法叫做 get_feature_names_out。",
        old="encoder.get_feature_names()",
        new="encoder.get_feature_names_out()",
    ),
    Rule(
        id="sklearn-imputer",
        message=r"cannot import name 'Imputer'",
        text="Imputer is called SimpleImputer and is in sklearn.impute.",
        zh="Imputer 现在叫做 SimpleImputer，在 sklearn.impute 里。",
        find=imported(
            r"sklearn\.preprocessing", "Imputer", lambda cell, node, found: "from sklearn.impute import SimpleImputer"
        ),
        before="fails",
        old="from sklearn.preprocessing import Imputer",
        new="from sklearn.impute import SimpleImputer",
    ),
    Rule(
        id="scipy-misc",
        message=r"cannot import name '(?P<name>\w+)' from 'scipy\.misc'|module 'scipy\.misc' has no attribute "
        r"'(?P<attribute>\w+)'",
        text="scipy.misc was emptied: read pictures with matplotlib.pyplot.imread, resize them with tf.image.resize.",
        zh="scipy.misc 已被清空：读图用 matplotlib.pyplot.imread，缩放用 tf.image.resize。",
        old="from scipy.misc import imresize",
        new="tf.image.resize(picture, (28, 28))",
    ),
    Rule(
        id="style-seaborn",
        message=r"'(?P<name>seaborn[\w-]*)' is not a valid package style",
        text="Matplotlib renamed the seaborn styles.",
        zh="Matplotlib 给 seaborn 样式改了名。",
        find=_seaborn_style,
        before="fails",
        old="plt.style.use('{name}')",
        new="plt.style.use('seaborn-v0_8')",
    ),
    Rule(
        id="plot-normed",
        message=r"unexpected keyword argument 'normed'",
        text="The argument is called density.",
        zh="这个参数叫做 density。",
        find=keyword("normed", "density", calls=("hist",)),
        before="fails",
        old="plt.hist(x, normed=True)",
        new="plt.hist(x, density=True)",
    ),
    Rule(
        id="print-statement",
        kinds=("SyntaxError",),
        message=r"Missing parentheses in call to 'print'",
        text="This is Python 2. In Python 3 print is a function.",
        zh="这是 Python 2 的写法。在 Python 3 中 print 是函数。",
        find=regex(r"(?<=^)(?P<indent>[ \t]*)print[ \t]+(?P<what>[^\s(].*?)[ \t]*$", r"\g<indent>print(\g<what>)"),
        before="fails",
        old="print x",
        new="print(x)",
    ),
    Rule(
        id="indentation",
        kinds=("IndentationError", "TabError"),
        message=r"",
        text="The lines of one block must begin in the same column: use four spaces, never tabs, and nothing before "
        "the first line of a cell.",
        zh="同一个代码块的各行必须从同一列开始：用四个空格，不要用制表符，单元格的第一行前不要有空格。",
    ),
    Rule(
        id="starter-gap",
        kinds=("NotImplementedError",),
        message=r"",
        text="A part of the starter has not been filled in: replace the line that raises NotImplementedError.",
        zh="起始代码还有一部分没有完成：请替换引发 NotImplementedError 的那一行。",
        old="raise NotImplementedError",
    ),
    Rule(
        id="syntax",
        kinds=("SyntaxError",),
        message=r"",
        text="Python cannot read this cell. Look at the marked line and the one above it: a bracket, a quote or a "
        "colon is often missing.",
        zh="Python 读不懂这个单元格。请看标出的那一行和它上面的一行：常常是少了括号、引号或冒号。",
    ),
    Rule(
        id="attribute-near",
        kinds=("AttributeError", "ImportError"),
        message=r"(?:has no attribute|cannot import name) '(?P<name>\w+)'.*Did you mean: '(?P<near>\w+)'",
        text="There is no '{name}'. It looks like a misspelt '{near}'.",
        zh="没有 '{name}'。看起来是 '{near}' 拼写有误。",
        old="{name}",
        new="{near}",
    ),
    Rule(
        id="none-attribute",
        kinds=("AttributeError", "TypeError"),
        message=r"'NoneType' object (?:has no attribute '(?P<name>\w+)'|is not (?P<what>\w+))",
        text="A value is None here. Often a function or a method was used that returns nothing, such as a function "
        "without return, or x = x.sort().",
        zh="这里的值是 None。常见原因是用了没有返回值的函数或方法，例如没有 return 的函数，或 x = x.sort()。",
    ),
    Rule(
        id="argument-near",
        kinds=("TypeError", "ValueError"),
        message=r"unexpected keyword argument '(?P<name>\w+)'.*Did you mean '(?P<near>\w+)'",
        text="There is no argument '{name}'. It looks like a misspelt '{near}'.",
        zh="没有参数 '{name}'。看起来是 '{near}' 拼写有误。",
        old="{name}",
        new="{near}",
    ),
    Rule(
        id="argument-unknown",
        kinds=("TypeError", "ValueError"),
        message=r"(?:unexpected keyword argument|Unrecognized keyword arguments passed to \w+: \{) ?'(?P<name>\w+)'",
        text="There is no argument '{name}' in this version. Leave it out, or look the call up: "
        "help(name_of_the_call).",
        zh="这个版本没有参数 '{name}'。去掉它，或查看说明：help(函数名)。",
    ),
    Rule(
        id="argument-missing",
        kinds=("TypeError",),
        message=r"(?P<call>[\w.]+)\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<name>'\w+')",
        text="{call} was called without {name}.",
        zh="调用 {call} 时缺少 {name}。",
    ),
    Rule(
        id="import-name-unknown",
        kinds=("ImportError",),
        message=r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'",
        text="{module} has no {name} in this version: misspelt, moved or removed.",
        zh="这个版本的 {module} 没有 {name}：拼写有误、已移动或已移除。",
    ),
    Rule(
        id="attribute-unknown",
        kinds=("AttributeError",),
        message=r"(?P<owner>'\w+' object|module '[\w.]+'|type object '\w+') has no attribute '(?P<name>\w+)'",
        line=r".",
        text="{owner} has no '{name}' in this version: misspelt, renamed or removed.",
        zh="这个版本的 {owner} 没有 '{name}'：拼写有误、改了名或已移除。",
    ),
)
