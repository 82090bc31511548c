"""The source of a case: one YAML file, read strictly and written in one form, so that round trips are exact.

`read(write(case)) == case` for every case, and `write(read(text)) == text` for every text that `write` made. Comments
of a file that was written by hand are not kept.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import yaml

from expunge.assurance.case import Case, Defeater, Kind, Node
from expunge.errors import OperatorError

LIMIT: Final = 1_000_000
"""Longest source, in characters."""

NEEDED: Final = frozenset({"kind", "text", "against", "doubt", "by", "raised"})
"""Fields that stand in every source, empty or not."""


class _Strict(yaml.SafeLoader):
    """YAML without aliases, repeated keys, and texts that become dates."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuses aliases, which could blow a small file up."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuses keys that are no texts, or stand twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise yaml.YAMLError(f"keys must be texts, each once{node.start_mark}")
        return super().construct_mapping(node, deep)


_Strict.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in rules if not tag.endswith(("timestamp", "merge"))]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Writer(yaml.SafeDumper):
    """YAML without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Every value is written out where it stands."""
        del data
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts with characters that YAML folds or drops are quoted and escaped."""
    return writer.represent_scalar("tag:yaml.org,2002:str", text, None if text.isprintable() else '"')


_Writer.add_representer(str, _text)


def read(text: str) -> Case:
    """The case in `text`.

    **Raises:** `OperatorError("bad-case")`, naming the node where there is one.
    """
    if len(text) > LIMIT:
        raise OperatorError("bad-case", f"the source is longer than {LIMIT} characters")
    try:
        plain = yaml.load(text, _Strict)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise OperatorError("bad-case", f"not YAML: {str(error).splitlines()[0][:200]}") from None
    return from_plain(plain)


def write(case: Case) -> str:
    """The one text of a case."""
    return yaml.dump(to_plain(case), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)


def to_plain(case: Case) -> dict[str, Any]:
    """JSON values; fields at their default are left out."""
    body: dict[str, Any] = {"case": case.name, "nodes": {node.id: _filled(node) for node in case.nodes}}
    if case.defeaters:
        body["defeaters"] = {each.id: _filled(each) for each in case.defeaters}
    return body


def from_plain(plain: Any) -> Case:
    """The inverse of `to_plain`; raises `OperatorError("bad-case")`."""
    if not isinstance(plain, dict) or not {"case", "nodes"} <= plain.keys() <= {"case", "nodes", "defeaters"}:
        raise OperatorError("bad-case", "a case holds `case` (its name), `nodes`, and perhaps `defeaters`")
    if not isinstance(plain["case"], str) or not plain["case"].strip():
        raise OperatorError("bad-case", "`case` is the name of the case, a text")
    nodes = [_node(name, body) for name, body in _mapping(plain["nodes"], "nodes").items()]
    doubts = [_defeater(name, body) for name, body in _mapping(plain.get("defeaters", {}), "defeaters").items()]
    if not nodes:
        raise OperatorError("bad-case", "the case has no nodes")
    return Case(plain["case"], tuple(nodes), tuple(doubts))


def _filled(value: Node | Defeater) -> dict[str, Any]:
    empty: tuple[object, ...] = ((), "", False, {})
    body = {each.name: getattr(value, each.name) for each in fields(value) if each.name != "id"}
    return {name: _plain(content) for name, content in body.items() if name in NEEDED or content not in empty}


def _plain(content: Any) -> Any:
    if isinstance(content, Kind):
        return str(content)
    if isinstance(content, tuple | list):
        return [_plain(each) for each in content]
    return {key: _plain(each) for key, each in content.items()} if isinstance(content, Mapping) else content


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OperatorError("bad-case", f"`{name}` maps ids to their contents")
    return value


def _node(name: str, body: Any) -> Node:
    known = _checked(name, body, Node, NEEDED & {"kind", "text"})
    if known["kind"] not in {str(kind) for kind in Kind}:
        raise OperatorError("bad-case", f"{name[:40]}: kind is one of {', '.join(Kind)}")
    links = {link: tuple(known.get(link, ())) for link in ("supported_by", "in_context_of")}
    return Node(**{**known, **links, "id": name, "kind": Kind(known["kind"])})


def _defeater(name: str, body: Any) -> Defeater:
    return Defeater(**_checked(name, body, Defeater, NEEDED - {"kind", "text"}), id=name)


def _checked(name: str, body: Any, kind: type, needed: frozenset[str]) -> dict[str, Any]:
    """The fields of a node or defeater, each of its type."""
    known = {each.name: each.type for each in fields(kind) if each.name != "id"}
    if not isinstance(body, dict) or not needed <= body.keys() <= known.keys():
        wrong = sorted(needed - body.keys() | body.keys() - known.keys()) if isinstance(body, dict) else sorted(needed)
        raise OperatorError("bad-case", f"{name[:40]}: missing or unknown: {', '.join(wrong)[:100]}")
    for key, value in body.items():
        if not _has_type(key, value):
            raise OperatorError("bad-case", f"{name[:40]}: `{key}` has the wrong type")
    return dict(body)


def _has_type(key: str, value: Any) -> bool:
    if key in ("supported_by", "in_context_of"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if key == "arguments":
        return isinstance(value, dict)
    return isinstance(value, bool) if key == "undeveloped" else isinstance(value, str)
