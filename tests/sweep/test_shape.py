"""The fast check of shapes agrees with the one that explains."""

import copy
import random
from typing import cast

from coalsim.observe.document import ResultDocument
from coalsim.observe.schema import faults
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.sweep.shape import shape_of


def spoilt(value: object, draw: random.Random) -> None:
    """Change one thing somewhere inside."""
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(keys)
        inner = value[key]  # type: ignore[index, call-overload]
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.2:
            if isinstance(value, dict) and draw.random() < 0.3:
                del value[cast("str", key)]
            else:
                value[key] = draw.choice([None, "text", 3, 2.5, True, [], {}, [1], {"a": 1}])  # type: ignore[index]
            return
        value = inner


def test_both_checks_agree() -> None:
    """On a document of several runs, and on two hundred that were spoilt at one place."""
    settings = [
        Setting(key=key, value=value, option=key)
        for key, value in {"run.warmup": "1us", "run.duration": "300us", "run.replications": 2}.items()
    ]
    sound = run_study(open_study("lock_loop", settings))
    check, draw = shape_of(ResultDocument), random.Random(1)
    assert check(sound)
    answers = []
    for _ in range(200):
        document = copy.deepcopy(sound)
        spoilt(document, draw)
        answers.append(check(document))
        assert answers[-1] is not any(True for _ in faults(document, ResultDocument))
    assert True in answers
    assert False in answers
