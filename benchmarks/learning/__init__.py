"""How good are models trained here on public data, against targets and published figures?

Recipes of models/recipes/bench over ${ENCODERY_DATA}, each with several seeds. A run is finished once; a result file
holds figures alone, never a text.
"""
