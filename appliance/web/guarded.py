"""Gradio's page, with one check before every handler: what is hidden can still be called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from typing_extensions import override

from appliance.settings import Role


class GuardedBlocks(gr.Blocks):
    """Blocks whose handlers run for those who may call them, and give nobody else anything.

    A handler that was made for no role runs for nobody: one that another handler makes, say.

    Args:
        may: whether a person, by name, has at least a role.
        options: of Gradio's own.
    """

    def __init__(self, may: Callable[[str | None, Role], bool], **options: Any) -> None:  # noqa: ANN401 - Gradio's
        super().__init__(**options)
        self._may = may
        self._least: dict[int, Role] = {}

    @contextmanager
    def handlers_for(self, least: Role) -> Iterator[None]:
        """Handlers that are made meanwhile are for people of this role and above."""
        before = set(self.fns)
        yield
        for made in set(self.fns) - before:
            self._least.setdefault(made, least)

    @override
    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Any:
        """Before any handler, and for everybody: no page of ours sends more than plain values.

        Gradio would take an object for a file, and fetch it from wherever it says it is.

        Raises:
            gr.Error: there is an object among them.
        """
        if _holds_object(inputs):
            raise gr.Error("The page takes plain values alone.", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)

    @override
    async def call_function(
        self,
        block_fn: Any,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        *args: Any,
        **options: Any,
    ) -> dict[str, Any]:
        """What Gradio calls for each event; a refusal leaves everything on the page as it is."""
        request = requests[0] if isinstance(requests, list) else requests
        least = self._least.get(block_fn._id)  # noqa: SLF001 - Gradio's own name for it
        if request is not None and least is not None and self._may(request.username, least):
            called = await super().call_function(
                block_fn, processed_input, iterator, requests, *args, **options
            )
            return dict(called)
        count = len(block_fn.outputs)
        nothing = gr.skip() if count == 1 else [gr.skip()] * count
        return {"prediction": nothing, "duration": 0, "is_generating": False, "iterator": None}


def _holds_object(value: object) -> bool:
    """Whether there is an object in it, however deep; the gate has limited its size."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            return True
        if isinstance(each, list):
            waiting += each
    return False
