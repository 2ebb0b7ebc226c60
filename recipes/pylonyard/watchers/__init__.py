"""What starts and watches a site: one module each."""
