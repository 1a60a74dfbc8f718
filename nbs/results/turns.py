"""Lets programs take turns, so that the ratio of their speeds is free of the machine's drift.

A program is a function that contains its imports, written to a file together with the functions it calls. It runs in a separate
process, reports that it is ready, waits for its turn, and reports how long the turn took. `take_turns` goes round: A B C A B C.
"""
import inspect
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path

from IPython.display import Markdown


def describe_machine() -> str:
    "Cores, processor, memory, versions, and how busy it is."
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = [name for name in ("tensorflow", "keras", "torch", "jax", "numpy") if util.find_spec(name)]
    versions = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in packages)]
    processor = (names or [platform.processor() or platform.machine()])[0]
    return (f"{cores} cores of {processor}, {memory:.0f} GB of memory, {platform.system()}; {', '.join(versions)}; "
            f"load average before the first program {os.getloadavg()[0]:.1f}")


def wait():
    "In a program: wait for the turn, and return when it began; end when the pipe is closed."
    if not sys.stdin.readline():
        raise SystemExit
    return time.perf_counter()


def tell(began=None, **facts):
    "In a program: send facts to the notebook, first that it is ready, then the result of each turn."
    if began is not None:
        facts["turn"] = time.perf_counter() - began  # seconds
    print(json.dumps(facts, default=float), flush=True)


temporary = tempfile.TemporaryDirectory()  # removed when the notebook ends
folder = Path(temporary.name)  # of the programs, and of their images
HEAD = "import json, math, os, signal, sys, time\nfrom itertools import chain, count, islice\nimport numpy as np\n"
WITHOUT_JAX = 'sys.modules["jax"] = None\n'
TAIL = """
settings = json.loads(sys.argv[1])
cores = settings.pop("cores", None)
if cores:  # before TensorFlow counts them
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
signal.alarm(3000)  # ends a program that hangs
"""


def write_program(name: str, *parts) -> str:  # its name
    "Write a program that calls the last of `parts` with its settings. TensorFlow imports JAX if it can, and only JAX's loop may."
    sources = [inspect.getsource(part) for part in (wait, tell, *parts)]
    head = HEAD if name == "jax_loop" else HEAD + WITHOUT_JAX
    text = "\n\n".join([head, *sources, TAIL + f"{parts[-1].__name__}(**settings)\n"])
    (folder / f"{name}.py").write_text(text)
    return name


class Program:
    "A running program; `facts` is what it sent when it was ready."

    def __init__(self, name: str, **settings):
        self.errors = tempfile.TemporaryFile("w+")
        env = {**os.environ, "CVAE_NB_DATA": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        env.pop("TF_ENABLE_ONEDNN_OPTS", None)  # set by `import cvae_nb` in this notebook; each program decides anew
        command = [sys.executable, str(folder / f"{name}.py"), json.dumps(settings)]
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        self.facts = None

    def answer(self) -> dict | None:  # None: it has ended
        "The next facts that the program sends. Raises `RuntimeError` with its stderr if it failed."
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        if self.process.wait():
            self.errors.seek(0)
            raise RuntimeError(f"a program failed with code {self.process.returncode}:\n{self.errors.read()[-3000:]}")

    def turn(self) -> dict | None:
        "Give the program its turn, and return the result."
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        "End the program."
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()


def take_turns(programs: dict, rounds: int, one_by_one: bool = True) -> dict:  # lists of answers by the same keys
    "Answers of programs, given as (name, settings), to `rounds` turns each. One by one: each is ready before the next starts."
    started, answers = {}, {key: [] for key in programs}
    try:
        for key, (name, settings) in programs.items():
            started[key] = Program(name, **settings)
            if one_by_one:
                started[key].facts = started[key].answer()
        for program in started.values():
            program.facts = program.facts or program.answer()
            assert program.facts.get("parameters", 69_989) == 69_989
        for _ in range(rounds):
            for key, program in started.items():
                if program.process.poll() is None and (answer := program.turn()):
                    answers[key].append(answer)
    finally:
        for program in started.values():
            program.stop()
    return answers


def table(head: list, rows: list) -> Markdown:
    "A Markdown table."
    lines = [head, ["---"] * len(head), *rows]
    return Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


def ratio(a: list, b: list) -> float:
    "The median over rounds of a / b in the same round."
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def goal_table(at_least: list, at_most: list) -> Markdown:
    "A table of goals, given as (what, goal, obtained)."
    lines = [(what, "at least", goal, got, got >= goal) for what, goal, got in at_least]
    lines += [(what, "at most", goal, got, got <= goal) for what, goal, got in at_most]
    rows = [[what, f"{sign} {goal:g}", f"{got:.2f}", "yes" if met else f"no, by {abs(got - goal):.2f}"]
            for what, sign, goal, got, met in lines]
    return table(["", "goal", "obtained", "met"], rows)


def images_per_second(loops: dict, answers: dict) -> dict:
    "Rates of loops in each of their turns, by the same keys."
    assert all(math.isfinite(answer["loss"]) for turns in answers.values() for answer in turns)
    return {key: [settings["n_images"] / answer["turn"] for answer in answers[key]] for key, (_, settings) in loops.items()}
