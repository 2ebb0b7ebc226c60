"""Lock files (PEP 751), and the verified files that they name."""
