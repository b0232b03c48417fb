"""Text that a model can learn something from: the same made-up facts, each told in two ways."""

from __future__ import annotations

from itertools import product
from random import Random

COLOURS = ["amber", "black", "copper", "crimson", "golden", "orange", "purple", "scarlet", "silver", "violet", "white"]
ANIMALS = ["badger", "camel", "dolphin", "falcon", "gecko", "hamster", "llama", "otter", "pelican", "tortoise"]
DEEDS = ["dances", "hesitates", "hides", "hurries", "listens", "naps", "sings", "swims", "waits", "wanders", "whistles"]
PLACES = ["bridge", "canal", "desert", "forest", "harbour", "island", "library", "market", "orchard", "station"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SKIES = ["cloud", "fog", "moonlight", "rain", "snow", "starlight", "storm", "sunshine", "thunder", "wind"]

#: The same fact twice, in the same content words and different order and function words.
TEMPLATES = (
    "On {day} the {colour} {animal} {deed} near the {place} in {sky}.",
    "By the {place} there is a {animal}: {sky} or not, every {day} it {deed}, and it is {colour}!",
)

#: D of the tests' token tables.
EMBEDDING_DIM = 32


def made_up_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """``count`` different facts, each told in two ways."""
    facts = Random(seed).sample(list(product(COLOURS, ANIMALS, DEEDS, PLACES, DAYS, SKIES)), count)
    names = ("colour", "animal", "deed", "place", "day", "sky")
    told = [[template.format(**dict(zip(names, fact, strict=True))) for template in TEMPLATES] for fact in facts]
    return [(first, second) for first, second in told]
