"""The README's Python runs as it stands."""

import re
from pathlib import Path

import torch

import expunge
from expunge.records import Records

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_snippet_brings_in_a_model_and_forgets(few: Records, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    code = code.replace("print(", "shown = (").replace("epochs=30", "epochs=1")

    class Digits(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(few)

        def __getitem__(self, row: int):
            return few.features[row], int(few.targets[row])

    owners = ["patient-17" if owner == few.train.owners[0] else owner for owner in few.owners]
    scope: dict = {"my_dataset": Digits(), "my_owners": owners}
    first, second = code.split("records = ")
    exec(first, scope)
    scope["my_module"] = scope["network"]()
    exec("records = " + second, scope)
    assert scope["shown"][0] == "exact"
    assert expunge.Records is Records
