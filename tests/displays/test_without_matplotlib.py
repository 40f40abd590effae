"""Without matplotlib the displays load, and say in one sentence what to install."""

import subprocess
import sys

_BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
from sk_arcal.displays import ReliabilityDisplay, RoutingGapDisplay

for display, routing in ((ReliabilityDisplay, []), (RoutingGapDisplay, [[1, 2]])):
    try:
        display.from_predictions([0, 1], [0.2, 0.8], *routing)
    except ImportError as error:
        print(error)
"""


def test_displays_name_the_missing_package():
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED], capture_output=True, text=True, check=True
    )
    expected = "{} needs matplotlib, which is not installed. "
    expected += 'Install it with: pip install "sk-arcal[report]"'
    assert done.stdout.splitlines() == [
        expected.format("ReliabilityDisplay"),
        expected.format("RoutingGapDisplay"),
    ]
