"""Without matplotlib the displays load, and say in one sentence what to install."""

import subprocess
import sys

import pytest

_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
from sk_arcal.displays import ReliabilityDisplay, RoutingGapDisplay
try:
    {call}
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("call", "caller"),
    [
        ("ReliabilityDisplay.from_predictions([0, 1], [0.2, 0.8])", "ReliabilityDisplay"),
        ("RoutingGapDisplay.from_predictions([0, 1], [0.2, 0.8], [1, 2])", "RoutingGapDisplay"),
    ],
)
def test_display_names_the_missing_package(call, caller):
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED.format(call=call)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == (
        f"{caller} needs matplotlib, which is not installed. "
        'Install it with: pip install "sk-arcal[report]"'
    )
