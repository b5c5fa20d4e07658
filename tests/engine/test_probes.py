"""Probes: others listen, and nobody pays when nobody does."""

from coalsim.engine.probes import Probe, Probes


def test_a_probe_without_listeners_is_one_truth_test() -> None:
    """The code that fires it does not even make its arguments."""
    probe = Probes().probe("lock.grant")

    def expensive() -> int:
        raise AssertionError("nobody listens")

    if probe.listeners:
        probe.fire(expensive())
    assert not probe.listeners


def test_listeners_are_told_in_the_order_in_which_they_came() -> None:
    """Each gets all facts."""
    probes, heard = Probes(), []
    probes.listen("lock.grant", lambda *facts: heard.append(("first", facts)))
    probes.listen("lock.grant", lambda *facts: heard.append(("second", facts)))
    probes.probe("lock.grant").fire(100, 3)
    assert heard == [("first", (100, 3)), ("second", (100, 3))]


def test_a_probe_is_one_object_by_its_name() -> None:
    """Whoever asks first makes it; names come sorted."""
    probes = Probes()
    probe = probes.probe("b")
    assert isinstance(probe, Probe)
    assert probes.probe("b") is probe
    assert probes.probe("a") is not probe
    assert probes.names() == ["a", "b"]
