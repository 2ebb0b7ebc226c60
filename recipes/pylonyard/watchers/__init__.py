"""Programs that start and watch a site, such as cron: one module for each."""
