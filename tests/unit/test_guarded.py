"""One check stands before every handler of the page, whatever kind of function it is."""

import asyncio
from contextlib import nullcontext

import pytest

from appliance.settings import Role
from appliance.web.guarded import GuardedBlocks
from tests.support.gradios import NOTHING, call
from tests.support.web import ROLES


def may(user, role):
    return user in ROLES and ROLES[user].covers(role)


def said():
    return "said"


async def said_later():
    return "said"


def said_in_parts():
    yield "said"


def with_handler(handler, least, *, has_output=True):
    """A page with one handler, and the handler as the page knows it."""
    import gradio as gr

    async def make():  # without a running loop Gradio makes one, and leaves it behind
        with GuardedBlocks(may, analytics_enabled=False) as blocks:
            outputs = gr.Textbox() if has_output else None
            with nullcontext() if least is None else blocks.handlers_for(least):
                gr.Button().click(handler, outputs=outputs)
        return blocks

    blocks = asyncio.run(make())
    (function,) = blocks.fns.values()
    return blocks, function


@pytest.mark.parametrize("handler", [said, said_later, said_in_parts])
def test_a_handler_runs_for_its_role_and_above(handler):
    """Functions, coroutines and generators."""
    blocks, function = with_handler(handler, Role.OPERATOR)
    answers = {user: call(blocks, function, [], user) for user in [*ROLES, "stranger", None]}
    assert answers == {
        "vera": [NOTHING],
        "otto": ["said"],
        "ada": ["said"],
        "stranger": [NOTHING],
        None: [NOTHING],
    }


def test_a_handler_that_nobody_was_named_for_runs_for_nobody():
    """Forgetting it shows at once, and opens nothing."""
    blocks, function = with_handler(said, None)
    assert call(blocks, function, [], "ada") == [NOTHING]


def test_a_handler_without_outputs_is_refused_as_well():
    """What it does is what counts."""
    done = []
    blocks, function = with_handler(lambda: done.append(1), Role.ADMIN, has_output=False)
    call(blocks, function, [], "otto")
    assert done == []
    call(blocks, function, [], "ada")
    assert done == [1]


@pytest.mark.parametrize("user", ["vera", "ada"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_address_that_is_sent_for_a_file_is_never_fetched(monkeypatch, user, wrapped):
    """Gradio takes an object for a file; no page of ours sends one, whoever asks."""
    import gradio as gr
    from gradio import processing_utils

    fetched = []
    monkeypatch.setattr(
        processing_utils, "async_ssrf_protected_download", lambda *args: fetched.append(args)
    )

    async def make():
        with GuardedBlocks(may, analytics_enabled=False) as blocks, blocks.handlers_for(Role.ADMIN):
            box = gr.Textbox()
            box.change(lambda text: text, inputs=box, outputs=box)
        return blocks

    blocks = asyncio.run(make())
    (function,) = blocks.fns.values()
    file = {"path": "http://192.0.2.1/x", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(gr.Error, match="plain values"):
        call(blocks, function, [[file] if wrapped else file], user)
    assert fetched == []
