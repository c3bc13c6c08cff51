"""What of an answer counts: CPython runs the program, and one right (or wrong) solution must pass (or fail)."""

from __future__ import annotations

import random
import textwrap
import tracemalloc
from collections.abc import Callable

import pytest

from evalkit.sandbox import Problem
from evalkit.sandbox.continuation import error_line
from evalkit.sandbox.extract import ANOTHER, LATER, NO_ANSWER, UNKNOWN, Taken, extract, take_code
from evalkit.sandbox.raw import BROKEN, CUT, SEVERAL, WORDS
from tests.unit.sandbox.test_answers import fenced

pytestmark = pytest.mark.torch_free


class Task:
    """A problem with a right and a wrong body; written by hand."""

    def __init__(self, head: str, name: str, right: str, wrong: str, test: str) -> None:
        """`head` ends with the docstring; the bodies have its indentation."""
        self.head, self.name, self.body, self.wrong_body = head, name, right, wrong
        self.problem = Problem(name, head, f"def check(candidate):\n    {test}\n", name)
        self.whole, self.wrong = head + right, head + wrong

    def passes(self, completion: str) -> bool:
        """Whether the tests pass in CPython."""
        program = f"{self.head}{completion}\n{self.problem.test}\ncheck({self.name})\n"
        try:
            exec(compile(program, "program", "exec", dont_inherit=True), {"__name__": "program"})
        except BaseException:
            return False
        return True


TASKS = [
    Task(
        'def double(xs):\n    """Twice each."""\n',
        "double",
        "    return [2 * x for x in xs]\n",
        "    return [x for x in xs]\n",
        "assert candidate([1, 2]) == [2, 4]",
    ),
    Task(
        'from typing import List\n\n\ndef runs(xs: List[int]) -> int:\n    """Count the runs.\n\n'
        '    >>> runs([1, 1])\n    1\n    """\n',
        "runs",
        "    count, last = 0, None\n    for x in xs:\n        if x != last:\n            count += 1\n        last = x\n"
        "    return count\n",
        "    count = 0\n    for x in xs:\n        count += 1\n    return count\n",
        "assert candidate([1, 1, 2]) == 2",
    ),
    Task(
        'import math\n\n\ndef text(n):\n    """Describe."""\n',
        "text",
        '    lines = """\n  of\n"""\n    def part(m):\n        return math.isqrt(m)\n    return f"{part(n)}{lines}"\n',
        '    return f"{n} of"\n',
        "assert candidate(9) == '3\\n  of\\n'",
    ),
]

Answer = Callable[[Task], str]
Take = Callable[[Problem, str], Taken]
BREAK = "    return (\n"
IM_END = "<|im_end|>\n<|im_start|>user\nFix it.<|im_end|>\n<|im_start|>assistant\n"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"

PASS: dict[str, Answer] = {
    # Turns, channels and tokens.
    "the first of two turns": lambda t: f"{fenced(t.whole)}{IM_END}{fenced(t.wrong)}",
    "the first of two turns, unclosed": lambda t: f"```python\n{t.whole}{IM_END}{fenced(t.wrong)}",
    "the final channel": lambda t: f"<|channel|>analysis<|message|>Maybe {fenced(t.wrong)}{FINAL}{fenced(t.whole)}",
    "the final channel, no fence": lambda t: f"<|channel|>analysis<|message|>So.{FINAL}{t.whole}<|return|>",
    "the final channel alone": lambda t: f"<|channel|>final<|message|>{fenced(t.whole)}<|return|>",
    "the final of three channels": lambda t: (
        "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>commentary<|message|>B."
        f"{FINAL}{fenced(t.whole)}<|end|>"
    ),
    "a channel that the template opened": lambda t: f"We need it.{FINAL}{fenced(t.whole)}",
    "Cohere's thought": lambda t: (
        f"<|START_THINKING|>{fenced(t.wrong)}<|END_THINKING|><|START_RESPONSE|>{fenced(t.whole)}<|END_RESPONSE|>"
    ),
    "a thought with other marks": lambda t: f"◁think▷{fenced(t.wrong)}◁/think▷{fenced(t.whole)}",
    "a token named in backticks": lambda t: f"Stop at `</s>`\n{fenced(t.whole)}",
    "a token named between words": lambda t: f"The <|endoftext|> token or </s> is unused.\n{fenced(t.whole)}",
    "a token named in a sentence": lambda t: f"I follow the [INST] format.\n{fenced(t.whole)}",
    "HTML's strike": lambda t: f"<b>Now</b> <s>old</s> new:\n{fenced(t.whole)}",
    "a token in bold": lambda t: f"It is **</s>** now.\n{fenced(t.whole)}",
    "a token in a list": lambda t: f"- `</s>`\n- <|endoftext|>: the end\n{fenced(t.whole)}",
    "a token in a docstring": lambda t: fenced(t.whole.replace('"""\n', ' Until\n    <|im_end|>\n    """\n', 1)),
    "a token in a comment": lambda t: fenced(f"# as <|im_end|> says\n{t.whole}"),
    "an example of a chat before": lambda t: fenced("hello</s>\n", "text") + fenced(t.whole),
    **{
        f"{token} behind {kind}": (lambda t, token=token, code=code: code(t).rstrip() + token)  # type: ignore[misc]
        for token in (
            *("<｜end▁of▁sentence｜>", "<s>", "<bos>", "<unk>", "<end>", "[|endofturn|]", "[PAD]", "[PAD][PAD]"),
            *("<|END_OF_TURN_TOKEN|>", "<end_of_turn>", "<start_of_turn>model\n", "<turn|>", "<｜User｜>Fix it."),
        )
        for kind, code in {"a body": lambda t: t.body, "a function": lambda t: t.whole}.items()
    },
    **{
        f"{token} before": (lambda t, token=token: token + fenced(t.whole))  # type: ignore[misc]
        for token in ("<s>", "<bos>", "<|begin_of_text|>", "<｜Assistant｜>", "[/INST]", "<start_of_turn>model\n")
    },
    "<s> before a body": lambda t: f"<s>{t.body}</s>",
    # What defines.
    "a test's import before": lambda t: fenced(f"from solution import {t.name}\nassert {t.name}\n") + fenced(t.whole),
    "a test's import before a body": lambda t: fenced(f"from m import {t.name}\n") + fenced(t.body),
    "a test's import behind a body": lambda t: fenced(t.body) + fenced(f"from m import {t.name}\n"),
    "an import in prose before": lambda t: f"from m import {t.name}\n\nThe code is:\n\n{t.whole}",
    "a lambda of a usage before": lambda t: fenced(f"{t.name} = lambda *a: None\n") + fenced(t.whole),
    "assigned to itself before": lambda t: fenced(f"{t.name} = {t.name}\n") + fenced(t.whole),
    "another name for it": lambda t: fenced(f"{t.whole.replace(t.name, 'other')}\n{t.name} = other\n"),
    **{
        f"a stub of {rest!r} before {kind}": (  # type: ignore[misc]
            lambda t, rest=rest, code=code: f"Fill in:\n{fenced(t.head + rest)}so:\n{fenced(code(t))}"
        )
        for rest in (
            *("", "    pass\n", "    ...\n", "    # your code here\n", "    raise NotImplementedError\n"),
            "    raise NotImplementedError('later')\n",
        )
        for kind, code in {
            "the whole": lambda t: t.whole,
            "the body": lambda t: t.body,
            "the body at the margin": lambda t: textwrap.dedent(t.body) if '"""' not in t.body else t.body,
        }.items()
    },
    "a signature before": lambda t: fenced(f"def {t.name}(xs):\n") + fenced(t.whole),
    "an unclosed stub before": lambda t: f"```python\n{t.head}    pass\n{fenced(t.whole)}",
    # Words.
    **{
        f"{word!r} before {kind}": (lambda t, word=word, code=code: f"{word}\n{code(t)}")  # type: ignore[misc]
        for word in ("Solution", "assistant\n", "python", "Python3", "Code", "[BEGIN]")
        for kind, code in {"a function": lambda t: t.whole, "a body": lambda t: t.body}.items()
    },
    **{
        f"{word!r} behind {kind}": (lambda t, word=word, code=code: f"{code(t)}\n{word}\n")  # type: ignore[misc]
        for word in ("[DONE]", "Explanation", "Wait")
        for kind, code in {"a function": lambda t: t.whole, "a body": lambda t: t.body}.items()
    },
    "MBPP's marks": lambda t: f"[BEGIN]\n{t.whole}[DONE]\n",
    "a word before a fence behind code": lambda t: f"{t.whole}\n\nWait\n\n{fenced('print(1)')}",
    "a word within a fence": lambda t: f"```\npython\n{t.whole}```",
    "a title and an example behind a body": lambda t: f"{t.body}\nExample\n{fenced('print(1)')}",
    # Bodies.
    "an output before a body": lambda t: fenced("[1, 2, 3]\n", "") + fenced(t.body),
    "True before a body": lambda t: fenced("True\n", "") + fenced(t.body),
    "values before a body": lambda t: fenced("x = 0\ny = x\n", "") + fenced(t.body),
    "a usage before a body": lambda t: fenced(f"print({t.name}(1))\n") + fenced(t.body),
    "another language before": lambda t: fenced(f"function {t.name}(a) {{\n  return a;\n}}\n", "js") + fenced(t.body),
    # Prose behind.
    "prose behind": lambda t: f"{t.whole}\nThis is it, if you like.\n",
    "a whole test and prose behind": lambda t: f"{t.whole}\ndef test():\n    assert {t.name}\n\nIt's done.\n",
    "indented as a whole": lambda t: (
        f"Here:\n\n{textwrap.indent(t.whole, '    ')}\n" if '"""\n  ' not in t.body else t.whole
    ),
}

FAIL: dict[str, Answer] = {
    "a right second turn": lambda t: f"{fenced(t.wrong)}{IM_END}{fenced(t.whole)}",
    "a right second turn after a broken block": lambda t: f"```python\n{t.head}{BREAK}{IM_END}{fenced(t.whole)}",
    "a right second turn after a broken body": lambda t: f"```python\n{BREAK}{IM_END}{fenced(t.whole)}",
    "a right second turn after a broken body, closed late": lambda t: f"```\n{BREAK}{IM_END}```\n{t.whole}```\n",
    "a right second turn after words": lambda t: f"That's all I can't do.{IM_END}{fenced(t.whole)}",
    "a right second turn, other tokens": lambda t: f"No.</s>[INST] Try. [/INST]{fenced(t.whole)}",
    "a right second turn, no end token": lambda t: f"No.\n<|user|>\nTry.\n<|assistant|>\n{fenced(t.whole)}",
    "a right second turn, Gemma": lambda t: f"No.<end_of_turn>\n<start_of_turn>user\nTry.\n{fenced(t.whole)}",
    "a right second turn, DeepSeek": lambda t: f"No.<｜end▁of▁sentence｜><｜User｜>Try.\n{fenced(t.whole)}",
    "a turn of the user first": lambda t: f"<|im_start|>user\n{fenced(t.whole)}<|im_end|>",
    "a right turn after the final channel": lambda t: (
        f"<|channel|>final<|message|>{fenced(t.wrong)}{FINAL}{fenced(t.whole)}"
    ),
    # What CPython refuses as it stands.
    **{
        f"a return beside {kind}, {dress.__name__}": (  # type: ignore[misc]
            lambda t, code=code, dress=dress: dress(code(t))
        )
        for dress in (fenced, str)
        for kind, code in {
            "the function": lambda t: f"{t.whole}return {t.name}(1)\n",
            "the function and a call": lambda t: f"{t.whole}x = {t.name}([1])\nreturn x\n",
            "the stub": lambda t: t.head + textwrap.dedent(t.body if '"""\n  ' not in t.body else t.wrong_body),
            "an import and the function": lambda t: f"import math\n\n{t.whole}yield\n",
        }.items()
    },
    "a return beside the function, behind prose": lambda t: f"Here it is:\n\n{t.whole}return {t.name}(1)\n",
    "a return beside the function, then a right one": lambda t: f"{t.whole}return 1\n\nSo:\n{fenced(t.whole)}",
    # A returning block is the first attempt.
    **{
        f"a first {kind} before {then}": (  # type: ignore[misc]
            lambda t, first=first, again=again: f"{fenced(first(t))}Oops:\n\n{again(t)}"
        )
        for kind, first in {
            "wrong body": lambda t: t.wrong_body,
            "wrong body at the margin": lambda t: textwrap.dedent(t.wrong_body),
            "broken body": lambda _: BREAK,
            "broken branch": lambda _: "    if x: return (\n",
        }.items()
        for then, again in {
            "a block": lambda t: fenced(t.whole),
            "text": lambda t: t.whole,
            "a block behind another": lambda t: fenced("import math\n") + fenced(t.whole),
            "a body": lambda t: fenced(t.body),
        }.items()
    },
    "prose, a wrong body, a block": lambda t: f"The body:\n\n{t.wrong_body}\nOr all:\n{fenced(t.whole)}",
    "prose, a broken body, a block": lambda t: f"The body:\n\n    return (1 +\n\nOr all:\n{fenced(t.whole)}",
    "a broken definition in one line": lambda t: f"def {t.name}(x): return 1 +\n\nSo:\n\n{t.whole}",
    "a misspelt definition in one line": lambda t: f"def {t.name}(x): retrun 1 1\n\nSo:\n{fenced(t.whole)}",
    # A string left open across the turn.
    **{
        f"a docstring open across {turn!r}": (  # type: ignore[misc]
            lambda t, turn=turn: f'```python\ndef {t.name}(*a):\n    """Do it.\n{turn}fix"""\n{t.body}```\n'
        )
        for turn in (IM_END, "<|im_end|>\n<|im_start|>user\n", "</s>\n", "<|eot_id|>\n", "</s>[INST] ", "<|user|>\n")
    },
    "right in the analysis alone": lambda t: f"<|channel|>analysis<|message|>{fenced(t.whole)}{FINAL}No.",
    "begun again in an unclosed block": lambda t: f"```python\n{t.head}{BREAK}\nWait.\n{fenced(t.whole)}",
    "a broken first block": lambda t: f"{fenced(t.head + BREAK)}{fenced(t.whole)}",
    "a broken first body": lambda t: f"{fenced(BREAK)}{fenced(t.body)}",
    "a wrong first block": lambda t: f"{fenced(t.wrong)}{fenced(t.whole)}",
    "a wrong first block behind a stub": lambda t: f"{fenced(t.head)}{fenced(t.wrong)}{fenced(t.whole)}",
    "a broken first block behind a stub": lambda t: f"{fenced(t.head)}{fenced(t.head + BREAK)}{fenced(t.whole)}",
    "a wrong first body": lambda t: f"{fenced(t.wrong_body)}{fenced(t.body)}",
    "a stub alone": lambda t: fenced(t.head),
    "an import alone": lambda t: fenced(f"from m import {t.name}\n"),
    "a lambda alone": lambda t: fenced(f"{t.name} = lambda *a: None\n"),
    "a broken statement behind the body": lambda t: f"{t.body}    return x y z\n    more\n",
    "a broken branch behind the body": lambda t: f"{t.body}    if x = 3: return 4\n",
    "a token after an apostrophe": lambda t: f"I can't do 'it'<|im_end|>\n{fenced(t.whole)}",
    "a token after an open quote": lambda t: f'He said "no<|im_end|>\n<|im_start|>user\n"x"{fenced(t.whole)}',
    "a token after an open backtick": lambda t: f"Use `x<|im_end|>\n<|im_start|>user `\n{fenced(t.whole)}",
    "the function again, broken": lambda t: f"{t.whole}\n{t.head}    return x x\n",
    "another function, broken": lambda t: f"{t.whole}\ndef other(x):\n    return x x\n\nDone.\n",
    "a class, broken": lambda t: f"{t.whole}\nclass Other:\n    x = = 1\n\nDone.\n",
    "an import, broken": lambda t: f"{t.whole}\nfrom other import (a b)\n",
}


@pytest.mark.parametrize("kind", PASS)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_right_solution_is_found(task: Task, kind: str) -> None:
    answer = PASS[kind](task)
    for take in (take_code, extract):
        taken = take(task.problem, answer)
        assert task.passes(taken.completion), taken


@pytest.mark.parametrize("kind", FAIL)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_nothing_else_is_taken_for_it(task: Task, kind: str) -> None:
    answer = FAIL[kind](task)
    for take in (take_code, extract):
        taken = take(task.problem, answer)
        assert not task.passes(taken.completion), taken


@pytest.mark.parametrize("take", [take_code, extract])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_further_definition_that_the_length_limit_cut_is_left_out_and_said(task: Task, take: Take) -> None:
    """A model without chat goes on with another function until it is stopped; the first one is whole."""
    for rest in (
        *(
            "def tail(x):\n    y = (1 +",
            'def tail(x):\n    """ abc\n    de',
            "class Tail:\n    def",
            "def tail(x):\n    y = 'ab",
        ),
        *(
            f"{task.head}    x = (",
            f"def {task.name}(x):\n    for c in x:\n       ",
            f"print({task.name}([1, 2",
            "print('ab",
        ),
    ):
        for answer in (f"{task.body}\n{rest}", f"{task.whole}\n{rest}", f"```python\n{task.whole}\n{rest}"):
            taken = take(task.problem, answer)
            assert task.passes(taken.completion), (answer, taken)
            assert taken.remark == CUT


BROKEN_LINES = [
    *(
        "    print 'x'",
        "    assert (x",
        "    foo(bar",
        "    x.append(",
        "    global",
        "    import",
        "    @x",
        "    exec 'x'",
    ),
    *("    lambda", "    }", "    ))", "        x = 1 (", "    (a, b) = ", "    x: int = (", "    match x", "    else"),
    *(
        "    elif x",
        "    return x y",
        "    # ok\n    print x",
        "print 'x'",
        "x = (",
        "x = = 1",
        "for x in",
        "if x y:",
        "del",
    ),
    *(
        "try\n    x",
        "with open('x') as",
        "assert f(",
        "print(f(1)",
        "@",
        "lambda:",
        "def y(:\n    pass",
        "    count count + 1",
    ),
]


BROKEN_LINES += [
    *(
        "    This is it.",
        "    if you want, change it:",
        "    Return None",
        "    Otherwise return None",
        "    Else: return None",
    ),
    *("    If not found return False", "    Else:\n        Return None", "    # none\n    Return the result"),
    *(
        "Return f (1) 2",
        "Import math",
        "Def foo(x):\n    return",
        "Else return None",
        "print the result of this function",
    ),
]


@pytest.mark.parametrize("line", BROKEN_LINES)
@pytest.mark.parametrize("take", [take_code, extract])
def test_code_behind_the_function_that_python_would_not_run_is_its_own(line: str, take: Take) -> None:
    for task in TASKS:
        for code in (task.whole, task.body):
            with pytest.raises(SyntaxError):
                compile(f"{task.whole}{line}\n", "program", "exec")
            taken = take(task.problem, f"{code}{line}\n")
            assert not task.passes(taken.completion), taken
            assert taken.remark == BROKEN


SAID_BESIDE: dict[str, tuple[Answer, str]] = {
    "three words behind": (lambda t: f"{t.whole}\nfoo bar baz\n", WORDS),
    "three words behind a body": (lambda t: f"{t.body}\nfoo bar baz\n", WORDS),
    "a sentence behind": (lambda t: f"{t.whole}\nThis is it, if you like.\n", WORDS),
    "a sentence before": (lambda t: f"Here it is:\n\n{t.whole}", WORDS),
    "a word in a block": (lambda t: f"```python\n{t.whole}Q.E.D\n```\n", WORDS),
    "a word in a block that the harness opened": (lambda t: f"{t.whole}Q.E.D\n```\n", WORDS),
    "an unclosed block and a sentence": (lambda t: f"```python\n{t.whole}\nThis function works by looping.\n", WORDS),
    "an unclosed block of a body, and a label": (lambda t: f"```python\n{t.body}\nExplanation:\n- it loops\n", WORDS),
    "another text definition": (lambda t: f"{t.whole}\nOr so:\n\n{t.wrong}", SEVERAL),
    "another text definition behind a body": (lambda t: f"{t.body}\nOr so:\n\n{t.wrong}", SEVERAL),
    "another text definition behind a block": (lambda t: f"{fenced(t.whole)}\nOr so:\n\n{t.wrong}", SEVERAL),
    "another text body": (lambda t: f"{t.body}\nOr so:\n\n{t.wrong_body}", SEVERAL),
    "another block of a body": (lambda t: f"{fenced(t.body)}\nOr so:\n\n{fenced(t.wrong_body)}", SEVERAL),
    "an example": (lambda t: f"{fenced(f'print({t.name}(1)){chr(10)}')}{fenced(t.whole)}", ""),
    "a block that raises": (lambda t: f"{fenced('raise ValueError' + chr(10))}{fenced(t.whole)}", ""),
    "a helper that returns": (
        lambda t: f"{fenced(f'def half(x):{chr(10)}    return x{chr(10)}')}{fenced(t.whole)}",
        "",
    ),
    "a helper in text": (lambda t: f"So:\ndef half(x):\n    return x\n{fenced(t.whole)}", ""),
    "a helper in text before a body": (lambda t: f"def half(x):\n    return x\n{fenced(t.body)}", ""),
    "a comment behind": (lambda t: f"{t.whole}\n# Done.\n", ""),
    "a token behind": (lambda t: f"{t.whole}</s>", ""),
    "a question restated": (lambda t: f"Q: Write it.\n\nA: Here it is\n{fenced(t.whole)}", ""),
    "a question restated in Chinese": (lambda t: f"问：写函数\n答：\n{fenced(t.whole)}", ""),
    "an instruction restated": (lambda t: f"### Instruction\nDo.\n\n### Response:\n{fenced(t.whole)}", ""),
    **{
        f"a draft under {head!r}, {dress.__name__}": (  # type: ignore[misc]
            lambda t, head=head, dress=dress: f"{head}\n\n{dress(t.whole)}\nAnswer:\n\n{dress(t.wrong)}",
            SEVERAL,
        )
        for head in ("Reasoning:", "**Thinking**", "# Thinking", "thought")
        for dress in (fenced, str)
    },
}


@pytest.mark.parametrize("kind", SAID_BESIDE)
@pytest.mark.parametrize("take", [take_code, extract])
def test_what_is_left_out_beside_the_first_attempt_is_said(kind: str, take: Take) -> None:
    answer, remark = SAID_BESIDE[kind]
    for task in TASKS:
        taken = take(task.problem, answer(task))
        assert task.passes(taken.completion), taken
        assert taken.remark == remark


THOUGHTS = [
    *(("[unused16]", "[unused17]"), ("<|im_start|>think\n", "<|im_start|>answer\n"), ("<|cot_start|>", "<|cot_end|>")),
    *(("<seed:think>", "</seed:think>"), ("<inner_monologue>", "</inner_monologue>"), ("Well.\n<think>", "</think>")),
    *(("<|channel>thought\n", "<channel|>"), ("<unused94>thought\n", "<unused95>"), ("<reflection>", "</reflection>")),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ('<details type="reasoning" done="true">\n', "\n</details>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<｜begin▁of▁thinking｜>", "<｜end▁of▁thinking｜>"),
    ("[THINK]", "[/THINK]"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
]


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_is_no_answer(opening: str, closing: str, take: Take) -> None:
    for task in TASKS:
        for dress in (fenced, str):
            for first, second, is_right in ((task.wrong, task.whole, True), (task.whole, task.wrong, False)):
                answer = f"{opening}\nFirst:\n{dress(first)}\nno.\n{closing}\n\n{dress(second)}"
                assert task.passes(take(task.problem, answer).completion) is is_right
        unclosed = take(task.problem, f"{opening}\nFirst:\n{fenced(task.whole)}")
        assert unclosed.remark == NO_ANSWER or unclosed.remark.startswith(UNKNOWN)
        assert not task.passes(unclosed.completion)


@pytest.mark.parametrize(
    "closing",
    ["\n[unused17]", "\n<|im_start|>answer\n", "assistantfinal", "\n...done thinking.\n\n", "\n</think>\n"],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_thought_whose_opening_is_not_there_is_no_answer(closing: str, take: Take) -> None:
    for task in TASKS:
        for dress in (fenced, str):
            for first, second, is_right in ((task.wrong, task.whole, True), (task.whole, task.wrong, False)):
                answer = f"analysisWe need\n\n{dress(first)}{closing}{dress(second)}"
                assert task.passes(take(task.problem, answer).completion) is is_right
        for begin in (
            "<judge>\nSimple.\n</judge>\n\n<think_off>",
            "<judge>\nx\n</judge>\n<think_on>\n<think>\nWe\n</think>",
        ):
            assert task.passes(take(task.problem, f"{begin}\n<answer>\n{fenced(task.whole)}</answer>").completion)


TURNS = [
    *(
        "\n\nHuman: x\n\nAssistant:\n",
        "\nUser: x\nAssistant:\n",
        "\n**User:** x\n",
        "\n### Instruction:\nx\n### Response:\n",
    ),
    *(
        "\n### Human: x\n",
        "\n<human>: x\n<bot>:\n",
        "\nQ: x\nA:\n",
        "\n\u95ee\uff1ax\n",
        "\n[Round 2]\n\n",
        "<reserved_106>x",
        "<role>x",
    ),
    *(
        "<extra_id_1>User\nx\n",
        "<SPECIAL_11>User\n",
        "[unused9]x",
        "[INST] x [/INST]",
        "<_user>x",
        "\nuser\nx\nassistant\n",
        "<AI>",
    ),
]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("take", [take_code, extract])
def test_another_turn_in_plain_text_ends_the_answer(turn: str, take: Take) -> None:
    for task in TASKS:
        right = fenced(task.whole)
        refused = take(task.problem, f"I cannot do that.{turn}{right}")
        assert not task.passes(refused.completion)
        assert refused.remark == LATER
        for begun in (
            task.wrong,
            f"{task.head}    return (\n",
            fenced(task.wrong),
            f"```python\n{task.head}    return (\n",
        ):
            for again in (right,) if "#" in turn else (right, task.whole):  # to Python a comment
                assert not task.passes(take(task.problem, f"{begun}{turn}{again}").completion), (begun, turn)
        for behind in (f"{turn}def other(:\n", f"{turn}{fenced(task.wrong)}"):
            assert task.passes(take(task.problem, f"{task.body.rstrip()}{behind}").completion), behind


WORDS_BEHIND = [
    "Time: O(n)\nSpace: O(1)",
    "- O(n)",
    "O(n)",
    "(end)",
    "Explanation: simple",
    "Thanks, bye",
    "Q.E.D",
    "end;",
]


@pytest.mark.parametrize("words", WORDS_BEHIND)
@pytest.mark.parametrize("take", [take_code, extract])
def test_words_that_python_reads_are_left_out_and_said(words: str, take: Take) -> None:
    for task in TASKS:
        for code in (task.whole, task.body):
            taken = take(task.problem, f"{code}\n{words}\n")
            assert task.passes(taken.completion)
            assert taken.remark == WORDS


@pytest.mark.parametrize("take", [take_code, extract])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_first_attempt_counts_wherever_it_stands(task: Task, take: Take) -> None:
    for said in ("", "\nOops. Corrected:\n\n", "\n# Corrected\n"):
        for first in (task.wrong, task.wrong_body):
            taken = take(task.problem, f"{first}{said}\n{fenced(task.whole)}")
            assert not task.passes(taken.completion)
            assert taken.remark == SEVERAL
        for broken in (f"{task.head}    return (\n", "    return (1 +\n"):
            for again in (task.whole, fenced(task.whole)):
                taken = take(task.problem, f"{broken}{said}\n{again}")
                assert not task.passes(taken.completion)
                assert taken.remark == BROKEN


@pytest.mark.parametrize("take", [take_code, extract])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_outline_is_no_attempt(task: Task, take: Take) -> None:
    for outline in (f"def {task.name}(xs)\n", f"def {task.name}(...):\n  loop over x\n  return y\n"):
        assert task.passes(take(task.problem, f"So:\n{fenced(outline)}Then:\n{fenced(task.whole)}").completion)
    assert task.passes(take(task.problem, f"{task.body.rstrip()}\n<filename>x.py\ndef y(:\n").completion)
    assert task.passes(take(task.problem, f"'''python\n{task.whole}'''").completion)
    assert task.passes(take(task.problem, f"{task.body.rstrip()}<file_sep>test.py\n").completion)


def test_a_definition_is_preferred_to_a_lambda_and_it_is_said() -> None:
    task = TASKS[0]
    taken = take_code(task.problem, fenced("double = lambda xs: xs\n") + fenced(task.whole))
    assert taken.remark == SEVERAL
    assert take_code(task.problem, fenced(task.head) + fenced(task.whole)).remark == ""
    assert take_code(task.problem, f"Sorry.<|im_end|>\n{fenced(task.whole)}").remark == LATER


def test_a_body_joins_the_stub_that_the_answer_gave() -> None:
    prose = Problem("prose", '"""Write a function add(a, b)."""\n', "", "add")
    other = Problem("other", "def add(a, b):\n    '''Add.'''\n", "", "add")
    for problem in (prose, other):
        for rest in ("", "    pass\n", "    '''Add.'''\n", "    raise NotImplementedError\n"):
            answer = fenced(f"def add(x, y):\n{rest}") + fenced("return x + y\n")
            space: dict[str, Callable[[int, int], int]] = {}
            exec(problem.prompt + take_code(problem, answer).completion, space)
            assert space["add"](2, 3) == 5


def test_a_method_alone_is_one_where_the_prompt_ends_within_it() -> None:
    prompt = 'class Account:\n    """An account."""\n\n    def __init__(self, n):\n        """Begin with n."""\n'
    problem = Problem("class", prompt, "", "Account")
    for code in ("def __init__(self, n):\n    self.n = n\n", "self.n = n\n", f"{prompt}        self.n = n\n"):
        for answer in (fenced(code), fenced("a = Account(3)\nprint(a.n)\n") + fenced(code)):
            space: dict[str, type] = {}
            exec(prompt + take_code(problem, answer).completion, space)
            assert space["Account"](3).n == 3


def test_an_index_that_looks_like_a_token_is_kept_where_its_name_is_known() -> None:
    prompt = "PAD = 1\n\n\ndef pad(xs):\n    'The pad.'\n"
    for code in ("    return xs[PAD]\n", "    return xs[PAD][PAD]\n"):
        assert extract(Problem("pad", prompt, "", "pad"), code).completion == code


def test_an_import_alone_defines_what_was_asked_for() -> None:
    problem = Problem("prose", '"""Write a function add(a, b)."""\n', "", "add")
    space: dict[str, Callable[[int, int], int]] = {}
    exec(take_code(problem, fenced("from operator import add\n") + fenced("print(add(1, 2))\n")).completion, space)
    assert space["add"](2, 3) == 5


SOLUTIONS: list[Callable[[str, str], str]] = [
    lambda whole, _: fenced(whole),
    lambda whole, _: fenced(whole, ""),
    lambda whole, _: f"[PYTHON]\n{whole}[/PYTHON]\n",
    lambda whole, _: whole,
    lambda _, body: fenced(body),
    lambda _, body: fenced(body, ""),
]
PROSE = [
    *(
        "Sure!\n",
        "Here is the code:\n\n",
        "The idea is to use a loop.\n",
        "Explanation\n",
        "Note: it's fast\n",
        "---\n",
    ),
    *("`x = 1` is used.\n", "\n\n", "**Usage**\n", "The </s> token\n", "It isn't `<|im_end|>` yet.\n", "1. Do x\n"),
]
OTHERS: list[Callable[[Task], str]] = [
    lambda t: fenced(f"print({t.name})\n"),
    lambda _: fenced("pip install x\n", "bash"),
    lambda _: fenced("[1, 2]\n", ""),
    lambda _: fenced("import math\n"),
    lambda t: fenced(f"from solution import {t.name}\n"),
    lambda t: fenced(f"def test_it():\n    assert {t.name}\n"),
    lambda t: fenced(f">>> {t.name}(1)\n2\n", ""),
    lambda t: fenced(f"result = {t.name}\n"),
    lambda t: fenced(t.head),
    lambda t: fenced(f"{t.head}    pass\n"),
    lambda t: fenced(f"{t.head}    raise NotImplementedError\n"),
]
ENDS = ["", "<|im_end|>", "</s>", "<｜end▁of▁sentence｜>", "[PAD]", "<end_of_turn>\n<start_of_turn>user\nThanks"]


@pytest.mark.parametrize("seed", range(300))
def test_one_solution_among_anything_is_judged(seed: int) -> None:
    draw = random.Random(seed)
    task, solution = draw.choice(TASKS), draw.choice(SOLUTIONS)
    around = [
        "".join(draw.choice(PROSE) if draw.random() < 0.6 else draw.choice(OTHERS)(task) for _ in range(number))
        for number in (draw.choice((0, 0, 1, 2, 3)), draw.choice((0, 0, 1, 2)))
    ]
    end = draw.choice(ENDS)
    for whole, body, is_right in ((task.whole, task.body, True), (task.wrong, task.wrong_body, False)):
        answer = f"{around[0]}{solution(whole, body)}{around[1]}{end}"
        for take in (take_code, extract):
            taken = take(task.problem, answer)
            assert task.passes(taken.completion) is is_right, (answer, taken)
        if end and is_right:
            behind = f"{answer}\n<|im_start|>user\nAgain.<|im_end|>\n<|im_start|>assistant\n{fenced(task.wrong)}"
            assert task.passes(take_code(task.problem, behind).completion), behind


MARGIN_RETURN = (
    "```python\ndef add(a, b):\n    total = a + b\n    return total\nresult = add(a, b)\nreturn result\n```\n"
)
BROKEN_THEN_RIGHT = [
    f"from typing import List\n\n\ndef add(a, b):\n    '''Add.'''\n    return (a +\n\n{said}\n\n"
    "def add(a, b):\n    return a + b\n"
    for said in ("Oops, that was wrong. Corrected:", "Human: fix it\n\nAssistant: here it is:", "Second try")
]


@pytest.mark.parametrize("answer", [MARGIN_RETURN, *BROKEN_THEN_RIGHT], ids=["return beside", "oops", "turn", "try"])
@pytest.mark.parametrize("take", [extract, take_code])
def test_a_first_attempt_that_is_no_python_is_the_answer(answer: str, take: Callable[[Problem, str], Taken]) -> None:
    """Seen in a real chat model's answer: a whole function and a ``return`` at the margin, which CPython refuses."""
    problem = Problem("T/0", "def add(a, b):\n    '''Add.'''\n", "def check(f):\n    assert f(1, 2) == 3\n", "add")
    with pytest.raises(SyntaxError):
        compile(problem.prompt + take(problem, answer).completion, "answer", "exec")


@pytest.mark.parametrize("said", ["Complexity: O(n)", "Time: O(n)\nSpace: O(1)", "Explanation: simple", "User: thanks"])
@pytest.mark.parametrize("take", [extract, take_code])
def test_a_remark_that_is_python_is_no_code(said: str, take: Callable[[Problem, str], Taken]) -> None:
    problem = Problem("T/0", "def add(a, b):\n    '''Add.'''\n", "", "add")
    for answer in (f"def add(a, b):\n    return a + b\n\n{said}\n", f"{said}\n\ndef add(a, b):\n    return a + b\n"):
        names: dict[str, Callable[[int, int], int]] = {}
        exec(problem.prompt + take(problem, answer).completion, names)
        assert names["add"](1, 2) == 3


@pytest.mark.parametrize("name", ["seed:think", "think", "scratchpad", "reason"])
def test_what_was_thought_is_no_answer(name: str) -> None:
    problem = Problem("T/0", "def add(a, b):\n    '''Add.'''\n", "", "add")
    thought = f"<{name}>\n```python\ndef add(a, b):\n    return a - b\n```\n</{name}>\n"
    taken = take_code(problem, f"{thought}```python\ndef add(a, b):\n    return a + b\n```\n")
    assert "a + b" in taken.completion
    assert "a - b" not in taken.completion


@pytest.mark.parametrize("take", [take_code, extract])
@pytest.mark.parametrize("mark", ["<SPECIAL_12>", "<|im_end|>\n<|im_start|>user\nAgain.<|im_end|>\n", "User: Again.\n"])
def test_another_version_behind_the_turn_is_not_read_and_it_is_said(
    mark: str, take: Callable[[Problem, str], Taken]
) -> None:
    task = TASKS[0]
    for first, second in ((task.wrong, task.whole), (task.whole, task.wrong)):
        taken = take(task.problem, f"{fenced(first)}\n{mark}\n{fenced(second)}")
        assert task.passes(taken.completion) == (first == task.whole)
        assert taken.remark == ANOTHER
    assert take(task.problem, f"{fenced(task.whole)}\n{mark}\n{fenced(task.whole)}").remark == ""


def test_what_is_cut_is_found_without_byte_code() -> None:
    # Byte code of n nested finally blocks has 2 ** n copies of the innermost.
    nested = "".join(f"{'    ' * k}try:\n{'    ' * k}    pass\n{'    ' * k}finally:\n" for k in range(2, 42))
    task = TASKS[0]
    answer = f"{task.body}\nclass g(await x):\n    def h():\n{nested}{'    ' * 42}pass\n"
    tracemalloc.start()
    try:
        for take in (take_code, extract):
            assert take(task.problem, answer).remark == BROKEN
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


# Marks of chat templates: what opens a thought, what the answer begins with behind it, and what ends that.
_HEADER = "<|start|>assistant<|channel|>"
TEMPLATES = {
    "Qwen": ("<think>\n", "\n</think>\n\n", "<|im_end|>"),
    "MiniMax M3": ("<mm:think>", "</mm:think>", ""),
    "Hunyuan": ("<think>\n", "\n</think>\n<answer>\n", "\n</answer>"),
    "Hy V4": ("<think:opensource>", "</think:opensource>", ""),
    "Seed": ("<seed:think>", "</seed:think>", "<seed:eos>"),
    "LongCat": ("<longcat_think>\n", "\n</longcat_think>\n", ""),
    "K2 Horizon": ("<ifm|think_fast>", "</ifm|think_fast>", ""),
    "PLaMo 3": ("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>", "<|plamo:tag|>"),
    "Solar Open": ("<|think|>", "<|end|><|begin|>assistant<|content|>", "<|flush|>"),
    "Solar Open 2": ("<|think:start|>", "<|think:end|>", "<|im_end|>"),
    "Kimi VL": ("◁think▷", "◁/think▷", ""),
    "Kimi K3": (
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|><|open|>response<|sep|>",
        "<|close|>response<|sep|><|close|>message<|sep|>",
    ),
    "Inkling": ("<|content_thinking|>", "<|end_message|><|message_model|><|content_text|>", "<|end_message|>"),
    "Muse": ("to=self<|message|>", "<|eom|><|start|>assistant to=user<|message|>", "<|eot|>"),
    "Ernie": ("<think>\n", "\n</think>\n\n<response>\n", "\n</response>\n"),
    "Magistral": ("[THINK]", "[/THINK]", ""),
    "EXAONE": ("<thought>\n", "\n</thought>\n\n", ""),
    "Cohere": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),
    "Apriel": ("Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n", "\n[END FINAL RESPONSE]"),
    "Marco": ("<Thought>\n", "\n</Thought>\n<Output>\n", "\n</Output>"),
    "gpt-oss": ("<|channel|>analysis<|message|>", f"<|end|>{_HEADER}final<|message|>", "<|return|>"),
    "gpt-oss without an end": ("<|channel|>analysis<|message|>", f"{_HEADER}final<|message|>", ""),
    "gpt-oss without a start": ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", ""),
    "gpt-oss with a preamble": (
        f"<|channel|>analysis<|message|>We<|end|>{_HEADER}commentary<|message|>",
        f"<|end|>{_HEADER}final<|message|>",
        "<|return|>",
    ),
    "gpt-oss with a call": (
        "<|channel|>commentary to=functions.python <|constrain|>code<|message|>",
        f"<|call|><|start|>functions.python to=assistant<|channel|>commentary<|message|>9<|end|>{_HEADER}final"
        "<|message|>",
        "<|return|>",
    ),
    "gpt-oss decoded": ("analysis", "assistantfinal", ""),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("take", [take_code, extract])
def test_thoughts_of_chat_templates_are_left_out(name: str, take: Take) -> None:
    task = TASKS[0]
    opening, closing, end = TEMPLATES[name]
    for dress in (fenced, str):
        for first, second in ((task.wrong, task.whole), (task.whole, task.wrong)):
            for start in (opening, ""):  # the template may have written it
                taken = take(task.problem, f"{start}First:\n{dress(first)}{closing}{dress(second)}{end}")
                assert task.passes(taken.completion) == (second == task.whole), taken
        unclosed = take(task.problem, f"{opening}First:\n{dress(task.whole)}")
        assert unclosed.remark == NO_ANSWER or unclosed.remark.startswith(UNKNOWN)
        assert not task.passes(unclosed.completion)


@pytest.mark.parametrize("take", [take_code, extract])
def test_what_cannot_be_told_from_an_answer_is_said(take: Take) -> None:
    task = TASKS[0]
    for opening, closing in (
        ("", "\nHere is my response:\n"),
        ("", "<|im_end|>\n<|im_start|>assistant\n"),
        ("<SPECIAL_12>", "<SPECIAL_13>"),
    ):
        for dress in (fenced, str):
            assert take(task.problem, f"{opening}{dress(task.wrong)}{closing}{dress(task.whole)}").remark in (
                SEVERAL,
                ANOTHER,
            )


@pytest.mark.parametrize(
    "before",
    [
        "Sure.\n\nQ: double?\nA:\n",
        "User: gives a list\nAssistant: Sure\n",
        "**User**: x\n\n",
        "答：\n",
        "Below is it.\n\n### Instruction:\nDo it.\n\n### Response:\n",
    ],
)
@pytest.mark.parametrize("take", [take_code, extract])
def test_a_speaker_before_the_only_code_leads_to_it(before: str, take: Take) -> None:
    for task in TASKS:
        for dress in (fenced, str):
            assert task.passes(take(task.problem, f"{before}{dress(task.whole)}").completion)
    other = take(TASKS[0].problem, f"Sure.\nUser: mine\n{fenced(TASKS[0].wrong)}Assistant:\n{fenced(TASKS[0].whole)}")
    assert other.remark == LATER


@pytest.mark.parametrize(
    ("line", "is_code"),
    [
        *(
            (line, True)
            for line in ("If x > 1:\n    return 1", "Try:\n    f()\nExcept:\n    pass", "While True:\n    pass")
        ),
        *((line, True) for line in ("From typing import List", "For i in x:\n    f(i)", "\u200b    return None")),
        *((line, False) for line in ("If x is 2, we get 4.", "For example:\n\n    f(3)", "With this:\n    f(3)")),
        *(
            (line, False)
            for line in (
                "If so: yes",
                "If x > 0:\n    the result is positive",
                "Try it:\n    f(3)",
                "Finally, it works.",
                "finally, it works",
            )
        ),
    ],
)
def test_a_keyword_with_a_capital_is_code_where_the_rest_is(line: str, is_code: bool) -> None:
    for code in (TASKS[0].whole, TASKS[0].body):
        assert take_code(TASKS[0].problem, f"{code}\n{line}").remark == (BROKEN if is_code else WORDS)


def test_a_long_sum_beside_the_word_finally_is_python() -> None:
    task = TASKS[0]
    many = " + ".join(["1"] * 700)
    nested = "".join(f"{'    ' * k}try:\n{'    ' * k}    pass\n{'    ' * k}finally:\n" for k in range(1, 9))
    for beside in ("    # finally\n", f"{nested}{'    ' * 9}pass\n"):
        for take in (take_code, extract):
            taken = take(task.problem, f"{beside}    y = {many}\n{task.body}")
            assert taken.remark == ""
            assert task.passes(taken.completion)
    assert error_line(f"def f():\n{nested}{'    ' * 9}break\n") == 26


@pytest.mark.parametrize(
    "use", ["assistantfinal = 1", "x = (assistantfinal)", "print([assistantfinal, assistantfinal.y])"]
)
def test_a_variable_that_is_called_as_a_channel_ends_no_thought(use: str) -> None:
    problem = Problem("square", 'def sq(x):\n    """Square."""\n', "", "sq")
    assert take_code(problem, f"```python\n{use}\ndef sq(x):\n    return x * x\n```").remark == ""


def test_where_the_whole_answer_is_another_speakers_turn_that_is_said() -> None:
    problem = Problem("square", 'def sq(x):\n    """Square."""\n', "", "sq")
    code = "```python\ndef sq(x):\n    return x * x\n```\n"
    assert take_code(problem, f"Human: do it\n{code}{code}").remark == LATER


@pytest.mark.parametrize("mark", ["<|content|>", "[unused17]", "<|inner_suffix|>", "[BEGIN FINAL RESPONSE]"])
def test_a_mark_that_is_only_spoken_of_begins_no_answer(mark: str) -> None:
    problem = Problem("square", 'def sq(x):\n    """Square."""\n', "", "sq")
    code = f'def sq(x):\n    y = x * x\n    t = "{mark}"\n    return y\n'
    taken = take_code(problem, f"```python\n{code}```\nThat is no `{mark}`.")
    assert (taken.completion.strip(), taken.remark) == (code.strip(), "")
