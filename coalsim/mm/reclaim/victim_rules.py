"""Victim rules: who is to die when memory has run out, as one class that can be replaced.

    rule.choose(candidates, total, nodes) -> index of the victim, or -1 if there is nobody

`Badness` is Linux's rule.  A user's own can stand for it; what it answers is checked
each time: the victim has to be one of the candidates, and one that may be killed.

Nothing here waits or costs time: the scan is charged by the killer.
"""

from collections.abc import Mapping, Sequence

from coalsim.errors import CoalsimError
from coalsim.mm.reclaim.victims import Candidate, choose, eligible
from coalsim.plugins import Asked, Registry, error_line, failure_in, find_class, nonsense, shown
from coalsim.units import NodeId

KEY = "kernel.victim"
NOBODY = -1


class VictimRule:
    """Base of all victim rules; made once for a system, without arguments."""

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        """The index of the process to kill, or -1 only if none may be killed.

        Args:
            candidates: all processes, in the order in which they were made.
            total: pages of the machine, or of `nodes`.
            nodes: those that the request may use; none: all.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to choose")


class Badness(VictimRule):
    """The process with the most resident, swapped and page-table pages, shifted by its adjustment."""

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        """Linux's choice."""
        return choose(candidates, total, nodes)


VICTIMS: Mapping[str, type[VictimRule]] = {"badness": Badness}

REGISTRY: Registry[VictimRule] = Registry(
    kind="victim rule", group="coalsim.victims", classes=VICTIMS, methods=("choose",)
)


class CheckedRule(VictimRule):
    """A user's rule; an answer that is none is told as a mistake of the class."""

    def __init__(self, policy: type[VictimRule]) -> None:
        self._policy = policy
        try:
            self._theirs = policy()
        except Exception as error:
            if isinstance(error, CoalsimError):
                raise
            what = f"cannot be made: {error_line(error)}"
            theirs = failure_in(policy.__module__, error, KEY)
            raise theirs or nonsense(policy, "__init__", KEY, what, "it is made without arguments") from error

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        """As the class says."""
        answer = self._theirs.choose(tuple(candidates), total, tuple(nodes))
        wrong = _what_is_wrong(answer, candidates, nodes)
        if wrong:
            remedy = "give the index of a candidate that eligible(candidate, nodes) allows, or -1 if none is"
            raise nonsense(self._policy, "choose", KEY, wrong, remedy)
        return answer


def _what_is_wrong(answer: object, candidates: Sequence[Candidate], nodes: Sequence[NodeId]) -> str:
    """Why an answer of a rule is none; empty if it is one."""
    if not isinstance(answer, int) or isinstance(answer, bool):
        return f"answers {shown(answer)}, which is no index"
    if answer == NOBODY:
        able = [one for one in candidates if eligible(one, nodes)]
        return f"chooses nobody, although {len(able)} processes may be killed" if able else ""
    if not 0 <= answer < len(candidates):
        return f"chooses candidate {answer}, and there are {len(candidates)}, from 0: no such process"
    chosen = candidates[answer]
    if eligible(chosen, nodes):
        return ""
    why = "it is dying already" if chosen.is_over else "it may not be killed"
    if not chosen.is_over and chosen.oom_score_adj > -1000:
        why = "it has no memory that would help"
    return f"chooses candidate {answer} (pid {chosen.pid}, {chosen.name or 'unnamed'}): {why}"


def find_victim_rule(name: str, asked: Asked) -> type[VictimRule]:
    """The rule of that name; empty: `badness`.

    Raises:
        ConfigError: there is none, or a user's class is no victim rule.
    """
    return find_class(name or "badness", REGISTRY, asked)


def rule_at_work(policy: type[VictimRule]) -> VictimRule:
    """A rule that can be asked; a foreign one is checked at each answer.

    Raises:
        ConfigError: the constructor of a user's class fails.
    """
    return policy() if policy in VICTIMS.values() else CheckedRule(policy)
