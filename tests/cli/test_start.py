"""Start-up: what does not need torch does not load it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "words",
    [
        "import expunge",
        "import expunge.cli.main",
        "import expunge_verify",
        "import expunge.journey.worker",
        "import expunge.journey.lookups",
        "import expunge.journey.salting",
    ],
)
def test_torch_is_not_loaded(words: str):
    program = f"{words}; import sys; sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_help_needs_no_torch():
    program = (
        "import sys\n"
        "from expunge.cli.main import main\n"
        "status = main(['--help'])\n"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "forget" in found.stdout
