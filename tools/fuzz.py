"""Calls `load_images`, `train`, the command and the readers of JSON files with arguments that work, and with odd ones.

    python tools/fuzz.py [--minutes 2] [--random]

What may happen is documented: `ValueError` and `TypeError` (`ArgumentError` is both), `OSError`, and `FloatingPointError` from
`train`; of the command, code 0 or 2 and one line on stderr. Anything else is shown with the arguments that caused it. Without
`--random` the examples are the same each time.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from cvae_nb.cli import main as command
from cvae_nb.data import load_images
from cvae_nb.engine.checkpoints import RunSettings, make_settings
from cvae_nb.engine.config import RunConfig, make_config
from cvae_nb.engine.recipes import make_recipe
from cvae_nb.model import CVAE
from cvae_nb.train import train

DOCUMENTED = ValueError, TypeError, OSError

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.sampled_from(
        [np.int64(2), np.float32(0.5), np.nan, 1e39, 10**400, "2", [2], (1, 2), {}, object(), "\udcff", "$^$", "\x1b[31m"]
    ),
    st.lists(st.integers(-2, 70), max_size=3),
)


def arguments(good: dict[str, tuple]) -> st.SearchStrategy:
    "Some of these arguments with values that work, of which up to two are exchanged for odd ones."
    working = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in good.items()})
    exchanged = st.dictionaries(st.sampled_from(list(good)), odd, max_size=2)
    return st.tuples(working, st.one_of(st.just({}), exchanged, exchanged)).map(lambda pair: {**pair[0], **pair[1]})


@st.composite
def arrays(draw: Callable) -> np.ndarray:
    "Arrays of many shapes, types and ranges."
    shapes = [(9, 8, 8), (9, 8, 8, 1), (9, 8, 8, 3), (9, 3, 8, 8), (0, 8, 8), (1, 8, 8), (8, 8), (), (9, 1, 1), (9, 8, 8, 4)]
    shape = draw(st.sampled_from(shapes))
    low, high = draw(st.sampled_from([(0, 256), (0, 2), (0, 1), (0, 17), (-5, 5), (0, 70000), (255, 256)]))
    values = np.array(np.random.default_rng(draw(st.integers(0, 9))).uniform(low, high, shape))
    kind = draw(st.sampled_from("uint8 int64 float32 float64 bool uint16 complex64 object U3".split()))
    with np.errstate(all="ignore"):
        array = np.array(np.floor(values) if draw(st.booleans()) else values).astype(kind)
    return np.ma.masked_array(array, mask=True) if draw(st.integers(0, 9)) == 0 and array.dtype.kind in "uf" else array


def write_files(folder: Path) -> list[str]:
    "Files and folders, whole and damaged."
    noise = np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8)
    for k, image in enumerate(noise):
        path = folder / "photos" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((8 + k % 2, 8)).save(path)
    np.savez(folder / "a.npz", x_train=noise, y_train=range(9), x_test=noise)
    np.save(folder / "a.npy", noise)
    (folder / "a.csv").write_text("\n".join(",".join(map(str, [0, *image.ravel()])) for image in noise))
    for path in list(folder.glob("a.*")):
        for k, cut in enumerate((0, 10, 200)):
            (folder / f"cut{k}{path.suffix}").write_bytes(path.read_bytes()[:cut])
    (folder / "empty").mkdir()
    (folder / "a.txt").write_text("text")
    return [*sorted(map(str, folder.iterdir())), str(folder / "none.npz"), "digits"]


def call(function: Callable, *args: object, also: tuple = (), **kwargs: object) -> None:
    "Call a function that may raise what is documented, in one line of reasonable length."
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            function(*args, **kwargs)
        except DOCUMENTED + also as error:
            assert str(error), f"an error without a message: {error!r}"


def fuzz_load(folder: Path) -> Callable:
    "Arguments of `load_images`."
    paths = write_files(folder)
    pictures = [Image.new(mode, (8, 8 + k)) for k, mode in enumerate(["L", "RGB", "1", "I;16", "RGBA", "P"])]
    sources = st.one_of(
        st.sampled_from(paths),
        arrays(),
        st.tuples(arrays(), arrays()),
        odd,
        st.lists(st.sampled_from(pictures), max_size=3),
        st.dictionaries(st.sampled_from(["train", "test", "val", "x"]), arrays(), max_size=3),
    )

    @given(
        sources,
        arguments(
            {
                "size": (None, 8, (6, 7), 1),
                "fit": ("crop", "pad"),
                "channels": (None, 1, 3),
                "test_fraction": (0.2, 0.5),
                "validation_fraction": (0.0, 0.3),
                "seed": (0, 7),
                "key": ("x_train", None),
                "on_disk": (True, False),
            }
        ),
    )
    def run(source: object, options: dict) -> None:
        sides = np.ravel(np.array(options.get("size"), object))
        if any(isinstance(side, int) and 64 < side < 10**6 for side in sides):
            return  # whether these fit in memory differs from machine to machine
        call(load_images, source, **options)

    return run


def fuzz_train(folder: Path) -> Callable:
    "Arguments of `train`."
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8)

    @given(
        st.one_of(st.just(images), st.just(images), arrays(), odd),
        arguments(
            {
                "epochs": (1, 2),
                "test_images": (images, None),
                "validation_images": (images, None),
                "recipe": ("default", "tutorial"),
                "batch_size": (4, 8),
                "optimizer": ("muon", "adam"),
                "learning_rate": (1e-3,),
                "decay": (True, False),
                "beta": (1.0, 0.0),
                "kl": ("analytic", "path"),
                "augment": (0.0, 0.5),
                "binarize": ("static", "dynamic"),
                "seed": (0, 2**31),
                "callbacks": ((), []),
                "folder": (None, str(folder / "run")),
                "resume": (False, True),
                "save_minutes": (10.0,),
                "verbose": (False, "auto"),
            }
        ),
    )
    def run(images: object, options: dict) -> None:
        epochs = options.get("epochs", 1)
        if epochs is None or isinstance(epochs, int) and epochs > 2:
            return  # a long run
        call(train, CVAE(2, (8, 8, 1), filters=(2,), seed=0), images, also=(FloatingPointError,), **{"epochs": 1, **options})

    return run


def mutations(values: dict) -> st.SearchStrategy:
    "A JSON object with some values exchanged, some removed, some added."
    keys = st.sampled_from([*values, "recipe.epochs", "new"])
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )
    return st.tuples(st.dictionaries(keys, json_values, max_size=3), st.sets(st.sampled_from([*values]), max_size=2))


def fuzz_json(folder: Path, model: type, values: dict) -> Callable:
    "Mutated files of settings."
    path = folder / "mutated.json"

    @given(mutations(values), st.sampled_from([1.0, 1.0, 0.7, 0.1]))
    def run(mutation: tuple, share: float) -> None:
        changed, removed = mutation
        mutated = {key: value for key, value in {**values, **changed}.items() if key not in removed}
        text = json.dumps(mutated)
        path.write_text(text[: int(share * len(text))])
        call(model.read, path)

    return run


def fuzz_command(folder: Path) -> Callable:
    "Command lines that are wrong, or answered without a training."
    odd_words = [
        "",
        "-1",
        "0",
        "1e400",
        "nan",
        "x",
        "9" * 400,
        "~nouser/x",
        "$^$",
        "a\x1b[31m",
        "--force",
        "2,x",
        "64x",
        "0x0",
        "🙂",
    ]
    words = st.sampled_from([*odd_words, str(folder), str(folder / "a.txt")])
    words |= st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    names = (
        "epochs batch-size optimizer learning-rate beta augment latent-dim filters binarize seed out resume save-minutes workers"
    )
    names += " recipe n dims size fit key validation patience init nope"
    options = [f"--{name}" for name in names.split()]

    @given(
        st.sampled_from(["train", "generate", "manifold", "", "trian"]),
        st.lists(st.tuples(st.sampled_from(options), words), max_size=3),
        words,
    )
    def run(name: str, pairs: list, source: str) -> None:
        args = [name, source, *(word for pair in pairs for word in pair), "--epochs", "x"]  # never a training
        before, out, err = sorted(os.listdir(folder)), io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command(args)
        assert code in (0, 2), (code, args)
        assert code == 0 or err.getvalue().count("\n") == 1, (args, err.getvalue())
        assert sorted(os.listdir(folder)) == before, args

    return run


def limit_time(function: Callable, seconds: float) -> tuple[Callable, list]:
    "A function that is called until its time is over and then does nothing, and the times of its calls."
    begin, calls = time.monotonic(), []

    @functools.wraps(function)
    def limited(*args: object, **kwargs: object) -> None:
        if time.monotonic() - begin < seconds:
            calls.append(time.monotonic() - begin)
            function(*args, **kwargs)

    return limited, calls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--random", action="store_true", help="other examples each time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        digits = load_images("digits")
        config = make_config("digits", digits, "default", latent_dim=2, filters=[8], binarize="static", seed=0)
        run_settings = make_settings(CVAE(seed=0), digits.train.images[:8], make_recipe("default", 8), "static", 0)
        parts = {
            "load_images": (0.25, 8000, fuzz_load(folder)),
            "train": (0.45, 400, fuzz_train(folder)),
            "the command": (0.1, 1500, fuzz_command(folder)),
            "config.json": (0.1, 3000, fuzz_json(folder, RunConfig, json.loads(config.model_dump_json()))),
            "settings.json": (0.1, 3000, fuzz_json(folder, RunSettings, json.loads(run_settings.model_dump_json()))),
        }
        for part, (share, most, run) in parts.items():
            run.hypothesis.inner_test, calls = limit_time(run.hypothesis.inner_test, 60 * options.minutes * share)
            settings(
                deadline=None,
                max_examples=most,
                derandomize=not options.random,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )(run)()
            print(f"{part}: {len(calls)} calls in {calls[-1]:.0f} s, none with another exception", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
