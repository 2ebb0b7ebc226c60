"""The web servers: a folder for each, behind the interface in ``registry``."""
