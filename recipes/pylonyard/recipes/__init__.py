"""The recipes: one module for each, named as its entry point, with its templates."""
