"""The type checker behind the shape annotations while the tests run."""

from beartype import BeartypeConf, beartype

# An int is welcome where a float is asked for, as everywhere in Python's own type system (PEP 484, numeric tower).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
