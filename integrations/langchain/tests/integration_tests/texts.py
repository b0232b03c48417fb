"""Enough different texts to adapt a model to."""

THINGS = ["bread", "trains", "tomatoes", "laptops", "guitars", "rivers", "castles", "horses", "lemons", "novels"]
PLACES = ["Lisbon", "Oslo", "Cairo", "Lima", "Quito", "Delhi", "Perth", "Turin", "Kyoto", "Boston", "Dublin", "Prague"]
TEXTS = [f"Where to find {thing} in {place}." for thing in THINGS for place in PLACES]
