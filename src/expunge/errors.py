"""Every error that Expunge raises on purpose: one base class, families by who must act.

An error is one line, a hint, and a stable code. The code is what the command line prints in JSON, what the exit
status derives from (one per family) and what `docs/errors.md` lists. Messages never quote owner ids, salts or keys.
"""

from typing import ClassVar, Final


class ExpungeError(Exception):
    """Base of all: `code` is stable, `str(error)` is one line, `hint` says what to do next.

    **Arguments:**

    - `code`: a key of [`CATALOGUE`][]; anything else is a programming mistake and raises `KeyError`.
    - `message`: one line, without owner ids, salts or keys.
    - `hint`: replaces the catalogue's advice where the raiser knows better.
    """

    family: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        owner, advice = CATALOGUE[code]
        if owner is not type(self):
            raise TypeError(f"code {code!r} belongs to {owner.__name__}, not to {type(self).__name__}")
        super().__init__(" ".join(message.split()))
        self.code: Final = code
        self.hint: Final = advice if hint is None else hint

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Survives the way back from a worker process."""
        return type(self), (self.code, str(self), self.hint)

    def to_json(self) -> dict[str, object]:
        """The one error shape of every `--json` command."""
        return {
            "error": {
                "code": self.code,
                "family": self.family,
                "message": str(self),
                "hint": self.hint,
                "exit_status": self.exit_status,
            }
        }


class RequesterError(ExpungeError):
    """Whoever asked for the deletion must act: the request itself cannot be honoured as it stands."""

    family = "requester"
    exit_status = 10


class OperatorError(ExpungeError):
    """Whoever runs Expunge must act: data, files, disk, configuration."""

    family = "operator"
    exit_status = 20


class ProgrammerError(ExpungeError):
    """Whoever wrote the calling code, network or recipe must act."""

    family = "programmer"
    exit_status = 30


class AttackSuspected(ExpungeError):
    """Input looks crafted: refused unread. A person must look."""

    family = "attacker-suspected"
    exit_status = 40


class ProviderDishonest(ExpungeError):
    """Evidence does not hold: what the provider says and what the bytes say differ."""

    family = "provider-dishonest"
    exit_status = 50


# code -> (family, advice). Codes are for ever: add, never rename. Kept in alphabetical order.
CATALOGUE: Final[dict[str, tuple[type[ExpungeError], str]]] = {
    "already-deleted": (RequesterError, "Nothing is left to delete; `expunge status` shows the earlier request."),
    "bad-arguments": (OperatorError, "See the command's --help."),
    "bad-config": (OperatorError, "Correct expunge.toml; `expunge init` writes a commented one."),
    "bad-data": (OperatorError, "Correct the data file; nothing was changed."),
    "bad-hyperparameter": (ProgrammerError, "See the docstring of the object for the allowed range."),
    "bad-shape": (ProgrammerError, "Features are [records, *shape], targets [records]."),
    "batch-of-one": (ProgrammerError, "Batch normalisation needs two records in every batch: raise batch_size."),
    "delete-everything": (RequesterError, "A model of nothing cannot be trained: retire the model instead."),
    "diverged": (ProgrammerError, "Lower the learning rate, or standardise the features."),
    "method-unfit": (ProgrammerError, "`expunge methods` says what each method needs."),
    "no-parameters": (ProgrammerError, "The factory must return an nn.Module that has parameters."),
    "no-such-file": (OperatorError, "Check the path."),
    "not-a-model": (AttackSuspected, "Models are safetensors files; pickles are never opened."),
    "nothing-to-delete": (RequesterError, "Name an owner or at least one record id."),
    "unknown-method": (OperatorError, "`expunge methods` lists them."),
    "unknown-network": (ProgrammerError, "mlp, cnn, resnet, or module:factory."),
    "unknown-owner": (RequesterError, "Check the spelling; owner ids are compared exactly."),
    "unknown-record": (RequesterError, "Check the ids; record ids are compared exactly."),
    "workspace-exists": (OperatorError, "Choose another folder; an existing workspace is never overwritten."),
    "workspace-missing": (OperatorError, "Run `expunge init` first, or name the workspace with -w."),
}
