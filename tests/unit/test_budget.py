"""All engines together get no more memory than there is, or than was allowed."""

from dataclasses import replace

import pytest

from appliance.app.budget import MIB, Budget
from appliance.engines import cpu
from appliance.errors import DeviceError
from appliance.runtimes import Device

DEVICE = Device("A GPU", "sm_86", "", "serial", 8000 * MIB, 3000 * MIB)


def backend(device=DEVICE):
    return replace(cpu.ENGINE, device=lambda: device)


def test_the_sum_is_refused_with_its_figures():
    """The model that no longer fits is named, with what each takes and what is allowed."""
    budget = Budget(2000)
    budget.grant("gate", backend(), 900 * MIB)
    budget.grant("yard", backend(), 900 * MIB)
    with pytest.raises(DeviceError) as caught:
        budget.grant("door", backend(), 300 * MIB)
    assert "door: engines on A GPU would take gate 900 + yard 900 + door 300" in str(caught.value)
    assert "= 2,100 MB" in str(caught.value)
    assert "allows 2,000 MB" in str(caught.value)
    assert "APPLIANCE_ENGINE__MEMORY_MB" in caught.value.hint
    budget.grant("small", backend(), 200 * MIB)


def test_another_engine_of_a_model_takes_the_place_of_its_old_one():
    """A model whose engine is made anew does not count twice."""
    budget = Budget(1000)
    for _ in range(3):
        budget.grant("gate", backend(), 800 * MIB)
    with pytest.raises(DeviceError, match=r"gate 800 \+ yard 201"):
        budget.grant("yard", backend(), 201 * MIB)


def test_what_a_model_took_is_free_again_when_it_is_gone():
    """On every device; others keep theirs."""
    budget = Budget(1000)
    another = backend(replace(DEVICE, serial="another"))
    for device in (backend(), another):
        budget.grant("gate", device, 600 * MIB)
    budget.grant("door", backend(), 100 * MIB)
    budget.release("gate")
    budget.release("gate")
    budget.grant("yard", another, 1000 * MIB)
    with pytest.raises(DeviceError, match=r"would take door 100 \+ yard 901"):
        budget.grant("yard", backend(), 901 * MIB)


def test_each_device_has_its_own_memory():
    """A spare on the processor takes nothing of the GPU."""
    budget = Budget(1000)
    budget.grant("gate", backend(), 800 * MIB)
    another = backend(replace(DEVICE, serial="another"))
    budget.grant("yard", another, 800 * MIB)
    with pytest.raises(DeviceError, match=r"would take yard 800 \+ door 201"):
        budget.grant("door", another, 201 * MIB)


def test_without_a_limit_what_is_free_counts():
    """More than is free is refused before it is tried."""
    budget = Budget(0)
    budget.grant("gate", backend(), 3000 * MIB)
    with pytest.raises(DeviceError, match=r"needs 3,001 MB of A GPU, where 3,000 of 8,000 MB"):
        budget.grant("yard", backend(), 3001 * MIB)


def test_what_is_unknown_is_not_refused():
    """An engine whose memory could not be told is loaded."""
    budget = Budget(1)
    budget.grant("gate", backend(), 0)
    with pytest.raises(DeviceError, match="gate 0"):
        budget.grant("yard", backend(), 2 * MIB)
