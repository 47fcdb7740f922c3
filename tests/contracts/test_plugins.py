"""Every plug-in that is there keeps its contract's small print."""

import pytest

from appliance import engines, tasks
from appliance.capture import sources
from appliance.capture.contract import Source
from appliance.catalog.card import Card
from appliance.catalog.library import Library, builtin_models_dir
from appliance.engines import Backend
from appliance.optimizer import heads, measures
from appliance.optimizer.heads import Head
from appliance.registry import plugins
from appliance.settings.model import Verify
from appliance.values import Precision

TASKS = tasks.known()
HEADS = plugins(heads, "HEAD", Head)
ENGINES = plugins(engines, "ENGINE", Backend)
MEASURES = measures.known()
SOURCES = plugins(sources, "SOURCE", Source)


@pytest.mark.parametrize(
    "found", [TASKS, HEADS, ENGINES, MEASURES], ids=["tasks", "heads", "engines", "measures"]
)
def test_a_plugin_is_named_as_its_file(found):
    """The word that settings, cards and sidecars use is the module's name."""
    assert found
    assert {name: plugin.name for name, plugin in found.items()} == {name: name for name in found}


def test_every_head_makes_outputs_of_a_known_task():
    """No head speaks of a task that nobody finishes."""
    assert {head.task for head in HEADS.values()} <= set(TASKS)


def test_every_task_has_a_head():
    """A task that no head leads to cannot be reached by any model."""
    assert {head.task for head in HEADS.values()} == set(TASKS)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("precision", Precision)
def test_every_limit_that_a_measure_asks_for_is_a_setting(name, precision):
    """For each precision there is one."""
    limits = MEASURES[name].limits_of(Verify().of(precision))
    assert set(limits) == set(MEASURES[name].limits)


def test_no_two_sources_claim_one_scheme():
    """Which source serves a URL does not depend on the order of files."""
    schemes = [scheme for source in SOURCES.values() for scheme in source.schemes]
    assert schemes
    assert len(schemes) == len(set(schemes))


def shipped_cards():
    library = Library(builtin_models_dir(), builtin_models_dir())
    return [library.card(name) for name in library.names()]


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_every_shipped_card_names_a_head_and_a_task_that_exist(card: Card):
    """What ships can be built."""
    assert card.task in TASKS
    assert HEADS[card.head].task == card.task
    assert card.table.labels
    assert card.origin is not None
