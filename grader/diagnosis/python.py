"""Python itself and the libraries beside; last, what is true of many libraries."""

from __future__ import annotations

from grader.diagnosis.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(
        id="numpy-alias",
        message=r"module 'numpy' has no attribute '(?P<name>int|float|bool|object|str|complex)'",
        text="np.{name} was an alias of Python's own {name}; NumPy removed it.",
        swap=(r"\bnp\.(int|float|bool|object|str|complex)\b", r"\1"),
        old="np.{name}",
        new="{name}",
    ),
    Rule(
        id="pandas-append",
        message=r"'(?:DataFrame|Series)' object has no attribute 'append'",
        text="pandas removed append; use concat.",
        old="df = df.append(row)",
        new="df = pd.concat([df, row])",
    ),
    Rule(
        id="encoder-sparse",
        message=r"OneHotEncoder\.__init__\(\) got an unexpected keyword argument 'sparse'",
        text="The argument is called sparse_output.",
        swap=(r"\bsparse\s*=", "sparse_output="),
        old="OneHotEncoder(sparse=False)",
        new="OneHotEncoder(sparse_output=False)",
    ),
    Rule(
        id="style-seaborn",
        message=r"'(?P<name>seaborn[\w-]*)' is not a valid package style",
        text="Matplotlib renamed the seaborn styles.",
        swap=(r"""(["'])seaborn(-\w+)?\1""", r"\1seaborn-v0_8\2\1"),
        old="plt.style.use('{name}')",
        new="plt.style.use('seaborn-v0_8')",
    ),
    Rule(
        id="print-statement",
        kinds=("SyntaxError",),
        message=r"Missing parentheses in call to 'print'",
        text="This is Python 2. In Python 3 print is a function.",
        swap=(r"^print\s+(.*)$", r"print(\1)"),
        old="print x",
        new="print(x)",
    ),
    Rule(
        id="indentation",
        kinds=("IndentationError", "TabError"),
        message=r"",
        text="The lines of one block must begin in the same column: use four spaces, never tabs, and nothing before "
        "the first "
        "line of a cell.",
    ),
    Rule(
        id="starter-gap",
        kinds=("NotImplementedError",),
        message=r"",
        text="A part of the starter has not been filled in: replace the line that raises NotImplementedError.",
        old="raise NotImplementedError",
    ),
    Rule(
        id="syntax",
        kinds=("SyntaxError",),
        message=r"",
        text="Python cannot read this cell. Look at the marked line and the one above it: a bracket, a quote or a "
        "colon is "
        "often missing.",
    ),
    Rule(
        id="attribute-near",
        kinds=("AttributeError",),
        message=r"has no attribute '(?P<name>\w+)'.*Did you mean: '(?P<near>\w+)'",
        text="There is no '{name}'. It looks like a misspelt '{near}'.",
        old="{name}",
        new="{near}",
    ),
    Rule(
        id="argument-unknown",
        kinds=("TypeError", "ValueError"),
        message=r"(?:unexpected keyword argument|Unrecognized keyword arguments passed to \w+: \{) ?'(?P<name>\w+)'",
        text="There is no argument '{name}' in this version. Leave it out, or look the call up: "
        "help(name_of_the_call).",
    ),
    Rule(
        id="import-name-unknown",
        kinds=("ImportError",),
        message=r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'",
        text="{module} has no {name} in this version: misspelt, moved or removed.",
    ),
)
