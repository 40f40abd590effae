"""What loads when, with torch and without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sk_arcal
from sk_arcal import models

CLASSIFIERS = [name for name in models.__all__ if name.endswith("Classifier")]
WITHOUT_TORCH = [*CLASSIFIERS, "Snapshot"]
WITH_TORCH = [name for name in models.__all__ if name not in WITHOUT_TORCH]

ABSENT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""


def output_of(code, absent=()):
    environment = os.environ | {"PYTHONPATH": str(Path(sk_arcal.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", ABSENT.format(absent=absent) + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_classifiers_load_no_torch():
    code = f"""
from sk_arcal import models
for name in {WITHOUT_TORCH}:
    getattr(models, name)
    print(name)
models.VisionTransformerClassifier().get_params()
print([name for name in ("torch", "skorch", "tqdm") if name in sys.modules])
"""
    assert output_of(code) == [*WITHOUT_TORCH, "[]"]


def test_missing_torch_is_one_sentence_that_names_the_caller():
    code = f"""
from sk_arcal import models
for name in {WITH_TORCH}:
    try:
        getattr(models, name)
    except ImportError as error:
        print(error)
for name in {CLASSIFIERS}:
    try:
        getattr(models, name)().fit([[0.0], [1.0]], [0, 1])
    except ImportError as error:
        print(error)
"""
    line = '{} needs torch, which is not installed. Install it with: pip install "sk-arcal[torch]"'
    expected = [line.format(name) for name in [*WITH_TORCH, *CLASSIFIERS]]
    assert output_of(code, absent=("torch", "skorch")) == expected


def test_missing_skorch_is_named():
    code = """
from sk_arcal.models import TabularTransformerClassifier
try:
    TabularTransformerClassifier().fit([[0.0], [1.0]], [0, 1])
except ImportError as error:
    print(error)
"""
    (message,) = output_of(code, absent=("skorch",))
    assert message.startswith("TabularTransformerClassifier needs skorch, which is not installed.")


def test_names_are_listed_and_others_are_unknown():
    assert models.__all__ == sorted({*WITHOUT_TORCH, *WITH_TORCH})
    assert set(models.__all__) <= set(dir(models))
    assert all(getattr(models, name).__name__ == name for name in models.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Transformer'"):
        models.Transformer  # noqa: B018
