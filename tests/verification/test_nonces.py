"""The verifier's book: one deletion, one draw; a second one is asked for in so many words, and stays visible."""

import hashlib
import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from verified_scenes import Scene

from expunge.errors import OperatorError, ProviderDishonest
from expunge.journey.nonces import draw, read_book
from expunge.ledger import strict_json
from expunge.records import DataTree
from expunge.verification import Commitment, NonceBook, deleted_leaves


def filed(folder: Path, made: Commitment, name: str = "c.json") -> Path:
    file = folder / name
    file.write_bytes(strict_json.canonical(made.to_json()))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made.digest
    return file


def test_a_commitment_has_one_nonce_however_often_it_is_asked_for(the_scene: Scene, tmp_path: Path) -> None:
    """A challenge that was aborted and begun again draws what it drew before."""
    file, book = filed(tmp_path, the_scene.commit()), tmp_path / "book"
    first, second = draw(file, book), draw(file, book)
    assert first["nonce"] == second["nonce"]
    assert (first["new"], second["new"]) == (True, False)
    assert len(first["nonce"]) == 32
    assert len(read_book(book).draws) == 1
    assert read_book(book).nonce_of(the_scene.commit().digest) == first["nonce"]


def test_another_commitment_to_the_same_records_draws_only_in_so_many_words(the_scene: Scene, tmp_path: Path) -> None:
    """Several requests, another recipe or interval, fewer records beside: each would be a choice among runs."""
    book = tmp_path / "book"
    made = the_scene.commit()
    draw(filed(tmp_path, made), book)
    slower = {**made.recipe, "epochs": 8.0}
    for number, other in enumerate(
        (replace(made, every=2), replace(made, recipe=slower), the_scene.commit(share=b"x"))
    ):
        file = filed(tmp_path, other, f"{number}.json")
        with pytest.raises(OperatorError, match="may choose") as caught:
            draw(file, book)
        assert caught.value.code == "nonce-used"
    again = draw(file, book, again=True)
    assert again["draws_for_these_records"] == 2
    assert len(read_book(book).for_leaves(deleted_leaves(made))) == 2


def test_leaves_are_known_however_their_hex_is_spelled(the_scene: Scene) -> None:
    made = the_scene.commit()
    spelled = replace(made, deletion={**made.deletion, "deleted": [x.upper() for x in made.deletion["deleted"]]})
    assert spelled.digest != made.digest
    with pytest.raises(OperatorError, match="another commitment"):
        NonceBook((NonceBook().draw(made)[0],)).draw(spelled)


def test_a_nonce_is_not_there_before_its_commitment(the_scene: Scene, tmp_path: Path) -> None:
    """It comes from the operating system, at the draw: two books give two, and a changed file gets none."""
    file = filed(tmp_path, the_scene.commit())
    assert draw(file, tmp_path / "one")["nonce"] != draw(file, tmp_path / "two")["nonce"]
    body = json.loads(file.read_bytes())
    file.write_text(json.dumps(body))
    with pytest.raises(OperatorError, match="other bytes"):
        draw(file, tmp_path / "one")
    for data in (b"", b"[]", b"{}", b"\xff", b'{"a": NaN}'):
        file.write_bytes(data)
        with pytest.raises(OperatorError) as caught:
            draw(file, tmp_path / "one")
        assert caught.value.code == "bad-data"


def test_records_that_come_in_are_no_deletion(the_scene: Scene, tmp_path: Path) -> None:
    """Copies of forgotten records under new ids, in leaves of their own: no proof joins the roots, no nonce drawn."""
    made, tree = the_scene.commit(), the_scene.tree
    places = [int(place) for place in made.deletion["places"]]
    after = DataTree((*tree.bury(places).leaves, b"\1" * 32))
    grown = replace(made, size=made.size + 1, root=after.root.hex(), deletion=made.deletion | {"size": made.size + 1})
    with pytest.raises(ProviderDishonest):
        draw(filed(tmp_path, grown), tmp_path / "book")
    assert (tmp_path / "book").read_bytes() == b""


def test_a_book_of_another_form_is_one_line(tmp_path: Path) -> None:
    for data in (b"x\n", b"{}\n", b'{"commitment": "a", "deleted": 3, "nonce": "n"}\n'):
        with pytest.raises(OperatorError) as caught:
            NonceBook.from_bytes(data)
        assert caught.value.code == "bad-data"
    with pytest.raises(OperatorError) as caught:
        read_book(tmp_path / "none")
    assert caught.value.code == "no-such-file"


def _drawn(file: Path, book: Path) -> str:
    return str(draw(file, book)["nonce"])


@pytest.mark.slow
def test_two_processes_draw_one_nonce(the_scene: Scene, tmp_path: Path) -> None:
    file = filed(tmp_path, the_scene.commit())
    with get_context("spawn").Pool(2) as pool:
        found = pool.starmap(_drawn, [(file, tmp_path / "book")] * 4)
    assert len(set(found)) == 1
