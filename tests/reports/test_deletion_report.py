import base64
import copy
import json
import re
import shlex
from dataclasses import replace

import pytest

import expunge_verify
from expunge.errors import ExpungeError, ProgrammerError, ProviderDishonest
from expunge.reports.deletion import deletion_report
from expunge.reports.numbers import Measured, Range, Unit
from expunge.reports.readings import estimate, shown_readings
from expunge.reports.sparks import lanes
from expunge.reports.story import DeletionStory

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=1>\"' {{ 7 * 7 }} {% x %} -->"


@pytest.fixture(scope="module")
def html(told) -> str:
    return deletion_report(told.story)


def changed(story: DeletionStory, **receipt) -> DeletionStory:
    """The story with fields of the receipt's parts replaced, as `claim={"kind": ...}` or a whole list."""
    plain = copy.deepcopy(dict(story.receipt))
    for name, value in receipt.items():
        plain[name] = {**plain[name], **value} if isinstance(plain[name], dict) and isinstance(value, dict) else value
    return replace(story, receipt=plain)


def values(element) -> list[float]:
    return [json.loads(each.attributes["value"]) for each in element.all("data")]


def test_page_is_sound_and_self_contained(html: str, read):
    assert read(html).faults() == []
    assert not re.search(r"https?:", html)


def test_same_story_same_bytes(html: str, told):
    plain = json.loads(json.dumps(vars(told.story)))
    assert deletion_report(DeletionStory(**plain)) == html


def test_no_canary_gets_through(html: str, told):
    assert "canary" not in html
    for secret in (*told.salts, b"\x07" * 32):
        assert secret.hex() not in html
        assert base64.b64encode(secret).decode().rstrip("=") not in html


def test_readings_on_the_page_are_those_of_the_audit(html: str, told, read):
    (table,) = read(html).root.classed("top")
    rows = table.all("tbody")[0].all("tr")
    assert len(rows) == len(told.audit["readings"]) > 10
    for row, found in zip(rows, told.audit["readings"], strict=True):
        before, after, _, floor = row.all("td")[:4]
        for element, key in ((before, "before"), (after, "after")):
            ends = [found[key]["low"], found[key]["high"]]
            meant = [found[key]["value"]] + (ends if None not in ends and ends[0] != ends[1] else [])
            assert values(element) == [value for value in meant if value is not None]
        assert set(values(floor)) <= set(found["floor"])
        assert row.classed("verdict")[0].text == found["finding"]
        assert row.all("svg")


def test_cost_is_the_receipts(html: str, told, read):
    cost, page = told.story.receipt["cost"], read(html)
    (table,) = [each for each in page.root.all("table") if "Retraining in full" in each.text]
    assert values(table) == [
        cost["gradient_evaluations"], cost["seconds"], cost["stopped_retraining_evaluations"],
        cost["retraining_evaluations"], told.story.retraining_seconds,
    ]  # fmt: skip
    facts = values(page.root.classed("facts")[0])
    assert facts[:2] == [
        cost["retraining_evaluations"] / cost["gradient_evaluations"],
        cost["stopped_retraining_evaluations"] / cost["gradient_evaluations"],
    ]


def test_the_audits_one_number_stands_on_top(html: str, told, read):
    facts = read(html).root.classed("facts")[0]
    (primary,) = [found for found in told.audit["readings"] if found["name"] == told.audit["primary"] == "LiRA AUC"]
    powerful = sum(found["has_power"] for found in told.audit["readings"])
    meant = [primary["before"]["value"], primary["after"]["value"], *primary["floor"], powerful]
    assert values(facts)[2:7] == meant
    assert f": {primary['finding']};" in facts.text


def test_every_finding_is_said_once_and_nothing_is_called_forgotten(html: str, told, read):
    page = read(html)
    (table,) = [each for each in page.root.classed("words") if "What that means" in each.text]
    for row in table.all("tbody")[0].all("tr"):
        finding = row.all("th")[0].text.strip()
        alike = [found for found in told.audit["readings"] if found["finding"] == finding]
        assert row.all("td")[0].text == alike[0]["words"]
        assert row.all("td")[1].inside[0] == ", ".join(found["name"] for found in alike)
        notes = [f"{found['name']}: {found['note']}" for found in alike if found["note"]]
        assert [each.text for each in row.all("td")[1].all("small")] == notes
    verdicts = {each.text for each in page.root.classed("verdict")}
    assert verdicts <= {"kept", "holds", "not asked", *(found["finding"] for found in told.audit["readings"])}
    assert "never shows that records are forgotten" in page.words


def test_not_covered_stands_before_everything_but_the_summary(html: str, told, read):
    words = read(html).words
    for line in told.story.receipt["not_covered"]:
        assert words.index("Not covered") < words.index(line) < words.index("What was asked")


def test_the_command_on_the_page_verifies_the_receipt(html: str, told, read, monkeypatch, capsys):
    (command,) = read(html).root.classed("command")
    monkeypatch.chdir(told.bundle.parent)
    assert shlex.split(command.text)[:2] == ["expunge", "verify"]
    assert expunge_verify.main(shlex.split(command.text)[2:]) == 0
    assert "verified: request 5f0c2c1e" in capsys.readouterr().out


def test_facts_of_the_receipt_are_on_the_page(html: str, told, read):
    receipt, page = told.story.receipt, read(html)
    digests = [each.text for each in page.root.classed("digest")]
    assert digests[:4] == [
        receipt["model"]["new"], receipt["model"]["old"], receipt["data"]["retained_root"], receipt["data"]["old_root"]
    ]  # fmt: skip
    bundle = expunge_verify.parse_bundle(told.bundle.read_bytes())
    assert digests[4] == expunge_verify.key_id(bundle.keys[0])
    assert "log.example/expunge: leaf 6, counted from 0, of 8" in page.words
    assert "SHA-256" in page.words
    for line in receipt["claim"]["assumptions"]:
        assert line in page.words


def test_no_number_has_a_long_tail(html: str, read):
    assert not re.search(r"\d\.\d{6,}", read(html).words)


def test_there_is_no_story_without_a_receipt_that_holds(told, tmp_path):
    data = bytearray(told.bundle.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.bundle.json").write_bytes(data)
    with pytest.raises(ExpungeError):
        DeletionStory.of(tmp_path / "flipped.bundle.json", told.model, audit=None, method={})
    (tmp_path / "other.safetensors").write_bytes(b"other")
    with pytest.raises(ProviderDishonest) as caught:
        DeletionStory.of(told.bundle, tmp_path / "other.safetensors", audit=None, method={})
    assert caught.value.code == "evidence-refused"


def test_an_audit_that_is_not_the_receipts_is_refused(told):
    swapped = copy.deepcopy(told.audit)
    swapped["readings"][0]["after"]["value"] += 1
    with pytest.raises(ProgrammerError, match="not the one in the receipt"):
        replace(told.story, audit=swapped)
    with pytest.raises(ProgrammerError, match="lacks curves"):
        replace(told.story, audit={key: value for key, value in told.audit.items() if key != "curves"})


def test_without_an_audit_the_page_says_so(told, read):
    page = read(deletion_report(replace(changed(told.story, audit=[]), audit=None)))
    assert page.faults() == []
    assert "No audit was made." in page.words
    assert "Before, after, retrained" not in page.words


def test_a_certified_claim_shows_its_theorem(told, read):
    claim = {
        "kind": "certified",
        "theorem": "Guo et al. 2020, theorem 3",
        "epsilon": 0.75,
        "delta": 1e-5,
        "budget_left": 0.25,
    }
    page = read(deletion_report(changed(told.story, claim=claim)))
    assert page.faults() == []
    assert "Guo et al. 2020, theorem 3; epsilon 0.75, delta 1e-05; budget left 0.25" in page.words
    assert {0.75, 1e-5, 0.25} <= {value for value, _ in page.numbers}


def test_an_empirical_claim_says_that_only_the_audit_speaks(told, read):
    page = read(deletion_report(changed(told.story, claim={"kind": "empirical", "assumptions": []})))
    assert "No theorem: only the audit below speaks" in page.words
    assert "an empirical claim rests on the audit alone" in page.words


def test_what_is_degraded_stands_on_top(told, read):
    audit = {**told.audit, "degraded": ["the relearning test was cut short"]}
    page = read(deletion_report(replace(changed(told.story, degraded=["3 checkpoints were missing"]), audit=audit)))
    assert page.faults() == []
    box = page.root.classed("caution")[1]
    assert [each.text for each in box.all("li")] == ["3 checkpoints were missing", "the relearning test was cut short"]


@pytest.mark.parametrize(
    ("deadline", "verdict", "margin"),
    [
        ("2026-02-05T08:12:41Z", "kept", "31 days early"),
        ("2026-01-06T08:12:41Z", "kept", "1 day early"),
        ("2026-01-05T08:12:41Z", "kept", "0\u202fms early"),
        ("2026-01-05T08:11:41Z", "missed", "1\u202fmin 0\u202fs late"),
        ("2026-01-02T08:00:00Z", "missed", "3 days late"),
    ],
)
def test_deadlines(told, read, deadline: str, verdict: str, margin: str):
    facts = read(deletion_report(changed(told.story, request={"deadline": deadline}))).root.classed("facts")[0]
    assert facts.classed("verdict")[0].text == verdict
    assert margin in facts.text


def test_work_that_was_not_measured_or_not_needed_is_said(told, read):
    cost = {"gradient_evaluations": 0, "stopped_retraining_evaluations": None}
    page = read(deletion_report(replace(changed(told.story, cost=cost), retraining_seconds=None)))
    assert page.faults() == []
    assert "this deletion took no gradient" in page.words
    assert "retraining stopped at equal accuracy was not measured" in page.words


def test_replay_case_and_derived_models_are_shown(told, read):
    extra = {
        "verification": {
            "schedule_commitment": None,
            "segments": 8,
            "replayed": 3,
            "tolerance": 0,
            "verdict": "equal bytes",
        },
        "assurance": {"case_digest": "c" * 64, "verdict": "holds"},
        "lineage": [{"model": "d" * 64, "treatment": "retired"}],
    }
    page = read(deletion_report(changed(told.story, **extra)))
    assert page.faults() == []
    assert "3 of 8 segments: equal bytes" in page.words
    assert {"c" * 64, "d" * 64} <= {each.text for each in page.root.classed("digest")}


def poison(value: object) -> object:
    """Every text that the report does not have to parse becomes hostile."""
    if isinstance(value, dict):
        return {key: item if key in KEPT else poison(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [poison(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


KEPT = {"received", "deadline", "completed", "kind", "finding", "unit"}


def test_hostile_words_are_escaped_everywhere(told, read):
    story = told.story
    receipt = poison(json.loads(json.dumps(story.receipt)))
    receipt["claim"] |= {"theorem": HOSTILE, "epsilon": 1.0, "delta": 0.0}
    receipt["method"]["parameters"] = {HOSTILE: HOSTILE, "nested": {"deep": [HOSTILE]}}
    receipt["degraded"], receipt["lineage"] = [HOSTILE], [{"model": HOSTILE, "treatment": HOSTILE}]
    receipt["platform"], receipt["audit"] = {HOSTILE: HOSTILE}, []
    page = read(
        deletion_report(
            replace(
                story,
                receipt=receipt,
                audit=poison(json.loads(json.dumps(told.audit))),
                checks=poison(list(story.checks)),
                log=poison(story.log),
                files=poison(story.files),
                method={"summary": HOSTILE, "source": HOSTILE},
            )
        )
    )
    assert page.faults() == []
    assert page.root.all("script", "img") == []
    assert page.words.count("alert(1)") > 40
    assert "49" not in "".join(each.text for each in page.root.all("dt"))


def test_estimates_without_randomness_have_no_interval():
    assert estimate({"value": 5.0, "low": 5.0, "high": 5.0}) == Measured(5.0)
    assert estimate({"value": 5.0, "low": None, "high": None}) == Measured(5.0)
    assert estimate({"value": 5.0, "low": 4.0, "high": 7.0}) == Measured(5.0, 4.0, 7.0)
    assert estimate({"value": None, "low": None, "high": None}) is None


def test_units_of_the_readings(told):
    units = {found.name: found.unit for found in shown_readings(told.audit)}
    assert units["UA"] is Unit.POINTS
    assert units["LiRA AUC"] is units["RMIA AUC"] is units["loss on D_f"] is Unit.PLAIN
    assert units["LiRA detection at 1 % FPR"] is Unit.SHARE
    assert units["relearning time"] is Unit.COUNT
    other = {**told.audit["readings"][0], "name": "a new audit", "unit": "furlongs"}
    (found,) = shown_readings({**told.audit, "readings": [other]})
    assert (found.unit, found.unit_words, found.meaning) == (Unit.PLAIN, "furlongs", "")


def test_a_reading_without_figures_is_shown_as_not_measured(told, read):
    audit = copy.deepcopy(told.audit)
    nothing = {"value": None, "low": None, "high": None}
    for found in audit["readings"]:
        found |= {"before": nothing, "after": nothing, "references": [nothing, nothing], "floor": None,
                  "has_power": False, "finding": "not measured", "note": "outputs are not finite"}  # fmt: skip
    audit["curves"] = []
    page = read(deletion_report(replace(changed(told.story, audit=[]), audit=audit)))
    assert page.faults() == []
    count = len(audit["readings"])
    assert f"0 of {count} readings" in page.words
    assert page.words.count("outputs are not finite") == count


def test_lanes_put_models_and_floor_on_one_scale():
    drawn = lanes(Measured(10, 8, 12), Measured(4), [Measured(2), Measured(3, 1, 5)], Range(1, 5))
    assert "before 10, after 4, noise floor 1 to 5" in drawn
    start, width = (float(x) for x in re.search(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', drawn).groups())
    left, right = 6.0, 144.0
    scale = (right - left) / 11
    assert (start, start + width) == (pytest.approx(left, abs=0.1), pytest.approx(left + 4 * scale, abs=0.1))
    circle = float(re.search(r"M([\d.]+) 5a4", drawn)[1])
    square = float(re.search(r"M([\d.]+) 19.5h7", drawn)[1]) + 3.5
    assert circle == pytest.approx(left + 9 * scale, abs=0.1)
    assert square == pytest.approx(left + 3 * scale, abs=0.1)
    diamonds = [float(x) for x in re.findall(r"M([\d.]+) 32.4l", drawn)]
    assert diamonds == [pytest.approx(left + scale, abs=0.1), pytest.approx(left + 2 * scale, abs=0.1)]
    assert lanes(None, None, [], None) == ""
