"""One module a recipe, named as its entry point; its templates stand beside it."""
