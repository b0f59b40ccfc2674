"""Follows a page of docs/ as a reader would: writes its files, runs its commands, compares what they print.

A block of any language below a path in backticks and a colon is a file; a `console` block has commands after $ and what they
print, where … stands for anything; a `text` block is only read.
"""

import os
import re
import subprocess
import sys

STEP = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(block):
    """(command, expected output) of a console block: lines that begin with $ and what follows each."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def matches(expected, printed):
    """Whether the output has the expected text; … stands for anything, and spaces for any run of them."""
    pieces = [r"\s+".join(map(re.escape, piece.split())) for piece in expected.split("…")]
    return re.search(r"(?s:.*?)".join(pieces), printed) is not None


def run(command, folder):
    """Exit code and output of a command, in the environment of these tests."""
    environment = {
        **os.environ,
        "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, text=True, capture_output=True, timeout=200, check=False
    )
    return done.returncode, done.stdout + done.stderr


def follow(page, folder):
    """From top to bottom, beginning in that folder. Returns the folder it ends in, the commands and the files."""
    ran, wrote = [], []
    for step in STEP.finditer(page.read_text("utf-8")):
        if step["kind"] == "console":
            for command, expected in commands(step["text"]):
                if command.startswith("cd "):
                    folder = folder / command[3:]
                    assert folder.is_dir()
                    continue
                code, printed = run(command, folder)
                assert code == 0, f"$ {command}\n{printed}"
                assert matches(expected, printed), f"$ {command}\n{printed}"
                ran.append(command)
        elif step["kind"] != "text":
            assert step["path"], f"a block that is no file: {step['text'][:60]}"
            (folder / step["path"]).write_text(step["text"], "utf-8")
            wrote.append(step["path"])
    return folder, ran, wrote
