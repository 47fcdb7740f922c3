"""What people read, in their language: English stands in the code, the others in a file each.

A text of the page is marked where it is made, by `texts("...")` and its like. Sentences of deeper
layers, which know nothing of languages, are recognized by what stands in the code that says them.
"""

from appliance.texts.languages import AUTO, LANGUAGES, Languages
from appliance.texts.spoken import ENGLISH, Texts, marked

__all__ = ["AUTO", "ENGLISH", "LANGUAGES", "Languages", "Texts", "marked"]
