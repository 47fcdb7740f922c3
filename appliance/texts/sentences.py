"""Sentences of deeper layers in another language.

Errors, states and reasons are English where they arise: for the log, the command line and metrics.
On the page they are recognized. The catalog holds them as the code says them, with a {name} for
each value, and what stands in these places is looked up in turn.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain

MARK = "sentence"  # the catalog's comment at these texts
KEPT = 500  # sentences that were said last
DEEPEST = 6  # sentences within sentences
ENDS = (".", ";", ":")
MOST_AT_ONCE = 3  # sentences that are one entry of the catalog

PLACE = re.compile(r"\{(\w+)\}")
_ENDS = re.compile(r"(?<=[.!?;:]) (?=\S)")
_ASIDE = re.compile(r"(?P<text>.+) \((?P<aside>.+)\)(?P<end>[.;:]?)", re.DOTALL)
# A value ends with its part of the sentence; what follows a colon may have parts of its own.
_VALUE = r"(?:(?![.!?;:] | \().)+?"
_REST = r"(?:(?![.!?;] [A-Z]).)+?"
_LIST = r"(?:[\w<>.=@/-]+, )*[\w<>.=@/-]+"
# So little stands beside these that they must look like what they are, or be known themselves.
_LISTS = {"others", "last"}
_KNOWN = {"state"}


class Sentences:
    """Says sentences in one language.

    Args:
        known: what stands for each English sentence.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._whole = {text: said for text, said in known.items() if not PLACE.search(text)}
        self._with_values = [(text, said) for text, said in known.items() if PLACE.search(text)]
        # The one of which most is fixed says the most of what it matches.
        self._with_values.sort(key=lambda pair: -len(PLACE.sub("", pair[0])))
        self._say: Callable[[str, int], str] = lru_cache(KEPT)(self._found)

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Made when the first one is needed: the start does not wait for it."""
        return [(_compiled(text), said) for text, said in self._with_values]

    def say(self, text: str) -> str:
        """The sentence, or several of them; what is not known stays English."""
        return self._say(text, 0) if self._whole else text

    def _found(self, text: str, depth: int) -> str:
        if depth > DEEPEST:
            return text
        found = self._one(text, depth)
        if found is not None:
            return found
        aside = _ASIDE.fullmatch(text)
        if aside is not None:
            told = (self._say(aside[name], depth + 1) for name in ("text", "aside"))
            return "{} ({}){}".format(*told, aside["end"])
        parts = _ENDS.split(text)
        return " ".join(self._several(parts, depth + 1)) if len(parts) > 1 else text

    def _several(self, parts: list[str], depth: int) -> Iterator[str]:
        """Sentences one after another; some entries of the catalog are two or three of them."""
        while parts:
            ends = range(min(MOST_AT_ONCE, len(parts)), 0, -1)
            tries = ((end, self._one(" ".join(parts[:end]), depth)) for end in ends)
            end, said = next((each for each in tries if each[1] is not None), (1, None))
            yield self._say(parts[0], depth) if said is None else said
            del parts[:end]

    def _one(self, text: str, depth: int) -> str | None:
        """One sentence, whatever it begins and ends with; None where it is unknown."""
        bare, end = (text[:-1], text[-1]) if text.endswith(ENDS) else (text, "")
        forms = (text, bare, bare[:1].lower() + bare[1:])
        known = ((form, self._whole[form]) for form in forms if form in self._whole)
        form, said = next(chain(known, self._filled(forms, depth)), (text, None))
        if said is None or form == text:
            return said
        if form != bare:
            said = said[:1].upper() + said[1:]
        return said if said.endswith(end) else said + end

    def _filled(self, forms: Sequence[str], depth: int) -> Iterator[tuple[str, str]]:
        """Which of a sentence's forms fits a pattern, and what that says with the same values."""
        for pattern, said in self._patterns:
            for form in forms:
                match = pattern.fullmatch(form)
                if match is None:
                    continue
                found = match.groupdict()
                values = {name: self._say(value, depth + 1) for name, value in found.items()}
                if all(self._fits(name, value, values[name]) for name, value in found.items()):
                    yield form, said.format(**values)

    def _fits(self, name: str, value: str, said: str) -> bool:
        """The end of a sentence is not a value's, unless that is a sentence itself."""
        if name in _KNOWN:
            return value in self._whole
        return said != value or not value.endswith(ENDS)


def _compiled(text: str) -> re.Pattern[str]:
    *firsts, last, end = PLACE.split(text)  # fixed, name, fixed, ..., name, fixed
    pattern = ""
    for fixed, name in zip(firsts[::2], firsts[1::2], strict=False):
        pattern += re.escape(fixed) + _place(name, _VALUE)
    pattern += re.escape(firsts[-1])
    pattern += _place(last, _REST if firsts[-1].endswith(": ") else _VALUE)
    return re.compile(pattern + re.escape(end), re.DOTALL)


def _place(name: str, value: str) -> str:
    return f"(?P<{name}>{_LIST if name in _LISTS else value})"
