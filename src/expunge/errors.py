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
    "already-deleted": (
        RequesterError,
        "Nothing is left to delete; `expunge requests show` tells what was done under the earlier request.",
    ),
    "already-extended": (OperatorError, "A deadline is extended once; the law gives no second time."),
    "already-trained": (OperatorError, "A workspace holds one model for its lifetime."),
    "altered-copy": (RequesterError, "Name the records by their ids, or submit them unchanged."),
    "archive-bomb": (AttackSuspected, "Packed data must not unpack to hundreds of times its size."),
    "bad-arguments": (OperatorError, "See the command's --help."),
    "bad-bundle": (AttackSuspected, "Ask for the bundle again; `expunge verify` names what is wrong with it."),
    "bad-case": (OperatorError, "Mend the case's YAML: docs/assurance.md, section 2."),
    "bad-checkpoint": (AttackSuspected, "A checkpoint is the text file that the log publishes, unchanged."),
    "bad-config": (OperatorError, "Correct expunge.toml; `expunge init` writes a commented one."),
    "bad-data": (OperatorError, "Correct the data file; nothing was changed."),
    "bad-envelope": (AttackSuspected, "An envelope is DSSE in strict JSON."),
    "bad-figure": (ProgrammerError, "Figures take finite numbers, and series of equal length."),
    "bad-hyperparameter": (ProgrammerError, "Choose a value in the range that the message names."),
    "bad-json": (OperatorError, "Strict JSON only: docs/verify.md, section 2."),
    "bad-key": (OperatorError, "Ed25519 only: private keys as PKCS #8 PEM, public keys as PEM, verifier key or id."),
    "bad-network": (ProgrammerError, "Verification takes nn.Sequential of Linear and ReLU, and finite numbers."),
    "bad-partition": (ProgrammerError, "Shards are disjoint, non-empty tuples of owner columns >= 0."),
    "bad-proof": (AttackSuspected, "Ask for the proof again; the message names the step that is damaged."),
    "bad-record": (ProgrammerError, "See the docstring of journey.worker.Steps for what each record must hold."),
    "bad-region": (ProgrammerError, "A region is a box in physical units: docs/assurance.md."),
    "bad-salt": (ProgrammerError, "A salt has 32 bytes, and a name keeps the salt that it was given."),
    "bad-shape": (ProgrammerError, "Features are [records, *shape], targets [records]."),
    "bad-subject": (ProgrammerError, "An audit takes two distinct references or more, and parts that do not overlap."),
    "bad-utility": (ProgrammerError, "A game answers one finite number for each coalition."),
    "batch-of-one": (ProgrammerError, "Batch normalisation needs two records in every batch: raise batch_size."),
    "budget-spent": (OperatorError, "Retrain (`--method retrain`): that sets the budget back to full."),
    "cannot-continue": (ProgrammerError, "Value the new partition; what is cached is not evaluated again."),
    "clock-runs": (OperatorError, "deadlines.json says under which law a deadline's clock may stand still."),
    "commitment-stale": (
        OperatorError,
        "The data changed since: hand over the new commitment, ask for a new nonce.",
    ),
    "deadline-passed": (OperatorError, "An extension is announced before the deadline, not after it."),
    "delete-everything": (RequesterError, "A model of nothing cannot be trained: retire the model instead."),
    "derived-untouched": (OperatorError, "Delete, retrain or exempt each derived model; then run the same command."),
    "disk-full": (OperatorError, "Make room on the disk, then run the same command: it carries on."),
    "diverged": (ProgrammerError, "Lower the learning rate, or standardise the features."),
    "evidence-refused": (ProviderDishonest, "`expunge verify` names every check; keep the file as evidence."),
    "features-saw-data": (ProgrammerError, "Take features that no record can have shaped, or another method."),
    "illegal-move": (OperatorError, "`expunge requests show` prints the request's state and what may follow."),
    "incomplete-values": (OperatorError, "Raise the budget: each stratum of an owner needs samples."),
    "indefinite-curvature": (ProgrammerError, "Raise the damping above minus the least eigenvalue of the Hessian."),
    "io-error": (OperatorError, "Check space, permissions and the path; the same command carries on."),
    "key-exists": (OperatorError, "Choose another file name; keys are never overwritten."),
    "key-exposed": (OperatorError, "Rotate the key: others could have read it. Key files have mode 0600."),
    "key-history-invalid": (ProviderDishonest, "Each rotation is signed by the old and by the new key."),
    "key-reused": (RequesterError, "Ask for something else under a new idempotency key."),
    "lease-held": (OperatorError, "Another process is at work on this workspace: wait for it, or stop it."),
    "lease-lost": (OperatorError, "Another process took over; run the same command to carry on."),
    "log-corrupt": (OperatorError, "`expunge fsck` names what is damaged; restore the store from a backup."),
    "log-fork": (ProviderDishonest, "Two histories were shown: keep both checkpoints as evidence."),
    "log-other": (ProviderDishonest, "Compare checkpoints of one log, signed by its keys."),
    "log-rollback": (ProviderDishonest, "An older copy of the store was put in place: restore the newest."),
    "malformed-model": (
        AttackSuspected,
        "The file's header contradicts its bytes; get the model again from where it was made.",
    ),
    "method-unfit": (ProgrammerError, "`expunge methods` says what each method needs."),
    "names-a-person": (OperatorError, "Reasons stay in the history for ever: write them without the owner's id."),
    "no-onnx": (OperatorError, "Install the extra: pip install expunge[onnx]. VNN-LIB files need nothing."),
    "no-parameters": (ProgrammerError, "The factory must return an nn.Module that has parameters."),
    "no-ray": (OperatorError, "Install the extra: pip install expunge[ray]; or use local processes."),
    "no-simglucose": (OperatorError, "Install the extra: pip install expunge[glucose]; or use our own simulator."),
    "no-such-file": (OperatorError, "Check the path."),
    "no-such-leaf": (ProgrammerError, "Leaves are counted from 0; proofs lead from 0 < old <= new."),
    "nonce-missing": (OperatorError, "Hand the commitment to the verifier; `expunge challenge` takes their nonce."),
    "nonce-used": (OperatorError, "One commitment takes one nonce: a second draw would be a choice."),
    "not-a-model": (AttackSuspected, "Models are safetensors files; pickles are never opened."),
    "not-erased": (OperatorError, "Bytes that had to go are still in the store; run `expunge fsck`."),
    "not-json": (ProgrammerError, "JSON has null, booleans, numbers that a double holds, text, lists and objects."),
    "not-owner": (RequesterError, "A request is for the requester's own records."),
    "not-trained": (OperatorError, "Run `expunge train`, or `expunge adopt` with weights trained elsewhere."),
    "not-valued": (OperatorError, "Run `expunge -w WS value` first."),
    "nothing-to-audit": (RequesterError, "Only training records leave a trace that an audit could look for."),
    "nothing-to-delete": (RequesterError, "Name an owner or at least one record id."),
    "object-erased": (OperatorError, "The object was deleted for good; its row in the store says why."),
    "object-missing": (OperatorError, "Run `expunge fsck`, and restore the file from a backup."),
    "pickle-refused": (AttackSuspected, "Pickles can run code and are never opened: export the data as .npz or .csv."),
    "reason-missing": (OperatorError, "Say who decides and why: both stand in the history."),
    "receipt-incomplete": (ProgrammerError, "docs/verify.md, section 5, lists the fields of a receipt."),
    "residual-too-large": (ProgrammerError, "Allow more passes or noise, or raise l2; or retrain."),
    "series-diverges": (ProgrammerError, "Leave the scale out: it is then measured. Or use conjugate gradient."),
    "signature-invalid": (ProviderDishonest, "The content was changed after signing, or another key signed it."),
    "store-busy": (OperatorError, "Another process holds the store; run the same command again."),
    "store-corrupt": (OperatorError, "Run `expunge fsck` to see what is damaged, and restore it from a backup."),
    "store-newer": (OperatorError, "Use the version of Expunge that wrote this workspace, or a later one."),
    "store-rolled-back": (ProviderDishonest, "An older copy of the database was put in place: restore the newest one."),
    "too-large": (ProgrammerError, "Use products and conjugate gradient; the matrix is for small networks."),
    "too-many-coalitions": (ProgrammerError, "Use a sampling estimator, or raise the limit."),
    "unknown-method": (OperatorError, "`expunge methods` lists them."),
    "unknown-model": (OperatorError, "`expunge models` lists those that are known."),
    "unknown-network": (ProgrammerError, "mlp, cnn, resnet, or module:factory."),
    "unknown-node": (OperatorError, "`expunge case check` lists the nodes and defeaters."),
    "unknown-owner": (RequesterError, "Owner ids are compared exactly; whoever was forgotten is unknown, too."),
    "unknown-reason": (OperatorError, "Use one of the Data Rights Protocol's reasons."),
    "unknown-record": (RequesterError, "Ids are compared exactly; a record that was deleted is unknown, too."),
    "unknown-regime": (OperatorError, "The known regimes stand in deadlines.json."),
    "unknown-request": (OperatorError, "`expunge requests list` shows the requests."),
    "unknown-salt": (OperatorError, "`expunge requests show` names the salts of a request."),
    "unknown-study": (OperatorError, "`expunge study --help` lists them."),
    "unsafe-path": (AttackSuspected, "Paths inside a workspace are relative, and without `..` and links."),
    "worker-lost": (OperatorError, "Look for what kills processes here: memory, mostly. The same command carries on."),
    "workspace-exists": (OperatorError, "Choose another folder; an existing workspace is never overwritten."),
    "workspace-missing": (OperatorError, "Run `expunge init` first, or name the workspace with -w."),
    "wrong-key": (OperatorError, "Sign with the key that is in force; rotate to a fresh one."),
}
