import subprocess
import sys


def test_import_does_not_load_scikit_learn_nor_what_is_optional():
    unwanted = ["sklearn", "pandas", "matplotlib", "torch", "joblib"]
    code = (
        "import sys, sk_arcal.metrics; "
        f"loaded = [name for name in {unwanted} if name in sys.modules]; "
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
