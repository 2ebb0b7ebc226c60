"""``bin/buildout``: the up-to-date check, and zc.buildout with its defects mended."""
