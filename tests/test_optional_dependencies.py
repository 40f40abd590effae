"""What works, and what is said, where only the four required packages are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sk_arcal

OPTIONAL = (
    *("torch", "skorch", "safetensors", "transformers", "accelerate"),
    *("matplotlib", "pandas", "jinja2", "pyarrow", "polars", "tqdm"),
)

# A finder that refuses: hiding a package by `sys.modules[name] = None` breaks scipy, which
# looks there for torch and expects a module.
BARE_INSTALL = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""

DATA = """
import numpy as np
rng = np.random.default_rng(0)
routing = rng.normal(size=400)
logit = rng.normal(size=400) + 1.0
y = (rng.random(400) < 1 / (1 + np.exp(-logit - routing))).astype(int)
confidence = 1 / (1 + np.exp(-logit))
X = np.column_stack([logit, routing])
"""


def run_python(code: str) -> str:
    """Output of `code` in a fresh interpreter; the test fails with its traceback."""
    environment = os.environ | {"PYTHONPATH": str(Path(sk_arcal.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_after(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of `names` a fresh interpreter has in memory after `statement`."""
    return run_python(
        f"{statement}\nimport sys\nprint(*[n for n in {names!r} if n in sys.modules])"
    ).split()


@pytest.mark.parametrize("package", OPTIONAL)
def test_blocker_hides_the_package(package):
    code = f"try:\n    import {package}\nexcept ImportError as error:\n    print(error)"
    assert run_python(BARE_INSTALL + code) == f"No module named '{package}'"


def test_importing_the_library_loads_nothing_heavy():
    heavy = ("numpy", "scipy", "sklearn", "joblib", *OPTIONAL)
    assert loaded_after("import sk_arcal", heavy) == []


def test_importing_the_metrics_needs_no_sklearn():
    assert loaded_after("import sk_arcal.metrics", ("sklearn", "joblib", *OPTIONAL)) == []


def test_importing_every_package_loads_nothing_optional():
    # scikit-learn itself loads pandas where it is installed; nothing may come on top of that.
    below = loaded_after("import scipy.stats, sklearn.base, sklearn.metrics", OPTIONAL)
    everything = "from sk_arcal import " + ", ".join(sk_arcal.__all__)
    assert loaded_after(everything, OPTIONAL) == below


def test_every_public_name_loads_in_a_bare_install_or_says_what_it_needs():
    code = """
import importlib, sk_arcal
for package in sk_arcal.__all__:
    module = getattr(sk_arcal, package)
    for name in getattr(module, "__all__", ()):
        try:
            getattr(module, name)
            print("loads", package, name)
        except ImportError as error:
            print("needs", package, name, error)
"""
    lines = [line.split(maxsplit=3) for line in run_python(BARE_INSTALL + code).splitlines()]
    assert len([line for line in lines if line[0] == "loads"]) >= 60
    # Modules of torch, and the one function that takes them.
    needs_torch = {line[2]: line[3] for line in lines if line[0] == "needs"}
    assert set(needs_torch) == {
        *("DepthRead", "DepthStream", "ExpertRouting", "MixtureOfExperts", "ResidualBody"),
        *("TabularTransformer", "VisionTransformer", "depth_stream", "read_routing"),
    }
    for name, message in needs_torch.items():
        assert message == (
            f"{name} needs torch, which is not installed. "
            'Install it with: pip install "sk-arcal[torch]"'
        )


@pytest.mark.parametrize("calibrator", ["TemperatureScaler", "NWConditionalCalibrator"])
def test_calibrator_works_in_a_bare_install(calibrator):
    code = f"""
from sk_arcal import {calibrator}
model = {calibrator}(confidence_columns=0, confidence_kind="logit").fit(X, y)
probability = model.predict_proba(X)
print(probability.shape, bool(np.allclose(probability.sum(axis=1), 1)), len(model.predict(X)))
"""
    assert run_python(BARE_INSTALL + DATA + code) == "(400, 2) True 400"


def test_conditional_test_works_in_a_bare_install():
    code = """
from sk_arcal import conditional_calibration_test
result = conditional_calibration_test(y, confidence, routing, n_resamples=199, random_state=0)
print(result.pvalue < 0.05, bool(repr(result)))
"""
    assert run_python(BARE_INSTALL + DATA + code) == "True True"


def test_audit_without_a_report_works_in_a_bare_install():
    code = """
from sk_arcal import routing_audit
audit = routing_audit(
    y, confidence=confidence, routing={"r": routing}, n_resamples=199, random_state=0
)
print(len(audit.features), bool(repr(audit)))
"""
    assert run_python(BARE_INSTALL + DATA + code) == "1 True"


DRAW = "from sk_arcal.displays import {0}; {0}.from_predictions({1})"
MISSING = {
    "ReliabilityDisplay": (DRAW.format("ReliabilityDisplay", "y, confidence"), "matplotlib"),
    "RoutingGapDisplay": (DRAW.format("RoutingGapDisplay", "y, confidence, routing"), "matplotlib"),
    "to_frame": (
        "from sk_arcal import metrics; metrics.reliability_table(y, confidence).to_frame()",
        "pandas",
    ),
}


@pytest.mark.parametrize("package", ["torch", "skorch"])
def test_network_needs_the_extra_to_fit_only(package):
    code = f"""
from sk_arcal import CapacityMatchedMLP
Absent.find_spec = lambda self, name, path=None, target=None: refuse(name)
def refuse(name):
    if name.split(".")[0] == {package!r}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
model = CapacityMatchedMLP(confidence_columns=0, confidence_kind="logit")
try:
    model.fit(X, y)
except ImportError as error:
    print(error)
"""
    assert run_python(BARE_INSTALL + DATA + code) == (
        f"CapacityMatchedMLP needs {package}, which is not installed. "
        'Install it with: pip install "sk-arcal[torch]"'
    )


def test_fitted_network_predicts_in_a_bare_install(tmp_path):
    path = tmp_path / "model.pickle"
    fit = f"""
import pickle
from pathlib import Path
from sk_arcal import CapacityMatchedMLP
model = CapacityMatchedMLP(confidence_columns=0, confidence_kind="logit", random_state=0)
Path({str(path)!r}).write_bytes(pickle.dumps(model.fit(X, y)))
print(model.best_iter_ > 0, model.predict_proba(X)[:, 1].sum().hex())
"""
    predict = f"""
import pickle, sys
from pathlib import Path
model = pickle.loads(Path({str(path)!r}).read_bytes())
print("torch" not in sys.modules, model.predict_proba(X)[:, 1].sum().hex())
"""
    fitted = run_python(DATA + fit)
    assert fitted.startswith("True ")
    assert run_python(BARE_INSTALL + DATA + predict) == fitted


@pytest.mark.parametrize("caller", MISSING)
def test_missing_extra_is_one_sentence_with_the_install_line(caller):
    statement, package = MISSING[caller]
    code = f"try:\n    {statement}\nexcept ImportError as error:\n    print(error)"
    message = run_python(BARE_INSTALL + DATA + code)
    assert caller in message
    assert f"needs {package}, which is not installed." in message
    assert message.endswith('pip install "sk-arcal[report]"')
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("package", ["torch", "skorch"])
def test_capacity_control_says_that_it_needs_the_extra(package):
    code = f"""
from sk_arcal.diagnostics import capacity_control
Absent.find_spec = lambda self, name, path=None, target=None: refuse(name)
def refuse(name):
    if name.split(".")[0] == {package!r}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
try:
    capacity_control(y, confidence, routing)
except ImportError as error:
    print(error)
"""
    assert run_python(BARE_INSTALL + DATA + code) == (
        f"capacity_control needs {package}, which is not installed. "
        'Install it with: pip install "sk-arcal[torch]"'
    )
