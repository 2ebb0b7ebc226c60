"""Run ``bin/buildout``: the up-to-date check, then zc.buildout with its defects mended."""
