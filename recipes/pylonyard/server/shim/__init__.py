"""What runs inside the application's process: valid in Python 2.7, imports nothing of ours.

The names of these modules show in that process, beside the application's own: keep them rare.
"""
