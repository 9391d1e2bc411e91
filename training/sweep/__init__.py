"""Which settings of a recipe are the best on dev rows?"""
