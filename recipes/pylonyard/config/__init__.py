"""Options, quoting, ini text, secrets, and where things stand in a checkout. Text in, text out."""
